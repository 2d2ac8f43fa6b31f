"""The load runner: its clock by hand (no real time), its threads against a real socket."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from load_kit.load import Clip, Job, LoadRunner
from tests.clients.fake_server import DURATION_S, FakeServer, plain, reset, status, write_wav
from whisper_client import BadArgument, Reply, WhisperClient
from whisper_client.audio_files import audio_seconds, find_audio
from whisper_client.errors import ServerTimeout

CLIP = Clip(Path("clip.wav"), 2.0)
GOOD = Reply(200, b'{"text": "hi"}', 0.0, 1, "application/json")


class HandClock:
    """Time that moves only when somebody sleeps or works."""

    def __init__(self) -> None:
        self.time = 100.0

    def now(self) -> float:
        return self.time

    def pass_time(self, seconds: float) -> None:
        self.time += seconds


def run_by_hand(durations: list[float], due: list[float | None]):  # type: ignore[no-untyped-def]
    """One thread, requests that take `durations` seconds of the hand clock."""
    clock = HandClock()
    left = iter(durations)

    def send(_: Clip) -> Reply:
        clock.pass_time(next(left))
        return GOOD

    runner = LoadRunner(send, 1, now=clock.now, sleep=clock.pass_time)
    return runner.run([Job(CLIP, due_s) for due_s in due])


def test_a_stall_shows_in_every_request_it_held_up() -> None:
    """Due at 0, 1, 2, 3 s; the first takes 5 s, the others 0.5 s: in a closed loop they would look fast."""
    run = run_by_hand([5.0, 0.5, 0.5, 0.5], [0.0, 1.0, 2.0, 3.0])
    assert [outcome.latency_s for outcome in run.outcomes] == [5.0, 4.5, 4.0, 3.5]
    assert [outcome.sent_s - outcome.due_s for outcome in run.outcomes] == [0.0, 4.0, 3.5, 3.0]
    assert run.wall_s == 6.5


def test_requests_wait_for_their_time() -> None:
    run = run_by_hand([0.5, 0.5], [1.0, 4.0])
    assert [(outcome.sent_s, outcome.done_s) for outcome in run.outcomes] == [(1.0, 1.5), (4.0, 4.5)]


def test_a_closed_loop_sends_the_next_when_the_last_is_done() -> None:
    run = run_by_hand([5.0, 0.5, 0.5], [None] * 3)
    assert [outcome.latency_s for outcome in run.outcomes] == [5.0, 0.5, 0.5]
    assert [outcome.sent_s for outcome in run.outcomes] == [0.0, 5.0, 5.5]


@pytest.mark.parametrize("threads", [1, 3, 8])
def test_no_more_than_the_concurrency_and_none_twice(threads: int) -> None:
    """All threads meet inside `send`, so the concurrency is reached; a counter says it is never passed."""
    meeting = threading.Barrier(threads)
    lock = threading.Lock()
    under_way, most, seen = 0, 0, []

    def send(clip: Clip) -> Reply:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
            seen.append(clip.path.name)
        meeting.wait(10)
        with lock:
            under_way -= 1
        return GOOD

    names = [f"{number}.wav" for number in range(threads * 4)]
    told: list[str] = []
    run = LoadRunner(send, threads).run(
        (Job(Clip(Path(name), None)) for name in names), lambda outcome: told.append(outcome.path)
    )
    assert most == threads
    assert sorted(seen) == sorted(told) == sorted(names)
    assert sorted(outcome.path for outcome in run.outcomes) == sorted(names)


@pytest.mark.parametrize(
    ("reply", "failure"),
    [
        (GOOD, None),
        (Reply(200, b"hello", 0, 1, "text/plain"), None),
        (Reply(200, b"", 0, 1, "text/plain"), None),  # silence has no words
        (Reply(200, b"{}", 0, 1, "application/json"), "no transcript"),
        (Reply(200, b"{", 0, 1, "application/json"), "no transcript"),
        (Reply(503, b"", 0, 7, "", ("http 503",) * 6), "http 503"),
        (Reply(302, b"", 0, 1), "http 302"),
    ],
)
def test_what_counts_as_a_failure(reply: Reply, failure: str | None) -> None:
    (outcome,) = LoadRunner(lambda _: reply, 1).run([Job(CLIP)]).outcomes
    assert (outcome.failure, outcome.status, outcome.retries) == (failure, reply.status, len(reply.causes))
    assert bool(outcome.message) == (failure is not None)


def test_errors_of_the_client_are_outcomes() -> None:
    errors = iter([ServerTimeout("late", tries=2, causes=("http 503", "timeout")), BadArgument("gone")])

    def send(_: Clip) -> Reply:
        raise next(errors)

    first, second = LoadRunner(send, 1).run([Job(CLIP), Job(CLIP)]).outcomes
    assert (first.failure, first.causes, first.status) == ("timeout", ("http 503",), None)
    assert (second.failure, second.message) == ("BadArgument", "gone")


def test_a_bug_is_not_an_outcome() -> None:
    def send(_: Clip) -> Reply:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        LoadRunner(send, 2).run([Job(CLIP)] * 3)


def test_ctrl_c_keeps_what_is_done() -> None:
    told = []

    def stop_at_second(outcome: object) -> None:
        told.append(outcome)
        if len(told) == 2:
            raise KeyboardInterrupt

    def send(_: Clip) -> Reply:
        nonlocal sent
        sent += 1
        if sent > 3:
            hang.wait(20)
        return GOOD

    sent, hang = 0, threading.Event()
    run = LoadRunner(send, 1).run([Job(CLIP)] * 100, stop_at_second)
    hang.set()
    assert run.interrupted and 2 <= len(run.outcomes) <= 3


@pytest.mark.parametrize(
    ("document", "audio_s"),
    [
        ('{"text": "", "duration": 3.5}', 3.5),
        ('{"text": "", "duration": "3.5"}', 3.5),
        ('{"text": ""}', 2.0),
        ('{"text": "", "duration": null}', 2.0),
        ('{"text": "", "duration": "long"}', 2.0),
        ('{"text": "", "duration": 0}', 2.0),
        ('{"text": "", "duration": NaN}', 2.0),
    ],
)
def test_the_servers_duration_comes_before_the_headers(document: str, audio_s: float) -> None:
    reply = Reply(200, document.encode(), 0, 1, "application/json")
    (outcome,) = LoadRunner(lambda _: reply, 1).run([Job(CLIP)]).outcomes
    assert outcome.audio_s == audio_s


def test_many_threads_share_one_client(server: FakeServer, clip: Path) -> None:
    """Failures of every kind among 40 requests on 8 threads: each file arrives, none is lost or doubled."""
    server.play(status(503, Retry_After="0"), reset, status(507), plain(b"{}", "application/json"), reset)
    with WhisperClient(server.url) as client:
        runner = LoadRunner(lambda item: client.transcribe(item.path, response_format="verbose_json"), 8)
        run = runner.run([Job(Clip(clip, 1.0))] * 40)
    assert len(run.outcomes) == 40
    assert [outcome.failure for outcome in run.outcomes if outcome.failure] == ["no transcript"]
    assert sorted(cause for outcome in run.outcomes for cause in outcome.causes) == [
        "connection", "connection", "http 503", "http 507",
    ]  # fmt: skip
    assert {outcome.audio_s for outcome in run.outcomes if not outcome.failure} == {DURATION_S}
    assert len(server.received) == 44


# -- files on disk


def test_folders_are_searched_for_media(tmp_path: Path) -> None:
    for name in ("b/z.WAV", "b/a.mp3", "b/notes.txt", "b/deep/c.flac"):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x")
    odd = tmp_path / "odd.bin"
    odd.write_bytes(b"x")
    found = [path.relative_to(tmp_path).as_posix() for path in find_audio([odd, tmp_path / "b"])]
    assert found == ["odd.bin", "b/a.mp3", "b/deep/c.flac", "b/z.WAV"]


def test_nothing_to_send_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BadArgument, match="no audio in"):
        find_audio([tmp_path])
    with pytest.raises(BadArgument, match="no file"):
        find_audio([tmp_path / "gone.wav"])


def test_lengths_come_from_headers(tmp_path: Path) -> None:
    import numpy as np
    import soundfile

    clip = write_wav(tmp_path / "a.wav", 1.25)
    assert audio_seconds(clip) == 1.25
    flac = tmp_path / "a.flac"
    soundfile.write(flac, np.zeros(8_000, np.float32), 16_000)
    assert audio_seconds(flac) == 0.5
    noise = tmp_path / "noise.wav"
    noise.write_bytes(b"no audio at all")
    assert audio_seconds(noise) is None


def test_a_wav_from_a_pipe_does_not_claim_a_day(tmp_path: Path) -> None:
    """ffmpeg cannot go back to fill in the length and leaves the largest number there."""
    clip = write_wav(tmp_path / "a.wav", 1.25)
    content = bytearray(clip.read_bytes())
    content[4:8] = content[40:44] = b"\xff\xff\xff\xff"
    clip.write_bytes(content)
    seconds = audio_seconds(clip)
    assert seconds is None or seconds == pytest.approx(1.25, abs=0.01)


def test_a_container_without_soundfiles_help_is_read_by_av(tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    import numpy as np

    path = tmp_path / "a.m4a"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 16_000), np.float32), format="fltp", layout="mono")
        frame.rate = 16_000
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    assert audio_seconds(path) == pytest.approx(1.0, abs=0.2)
