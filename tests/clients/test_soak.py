"""The soak: its parts by hand and against processes of our own, and a short run against the fake server."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import soak
from load_kit.load import Clip, LoadRun, Outcome
from load_kit.mix import Mix
from load_kit.soak.chaos import Chaos, Event, malformed_forms
from load_kit.soak.growth import Checkpoints, Series, all_flat, verdict_of
from load_kit.soak.processes import Process, processes, worker_pids
from load_kit.soak.soak_report import SoakResult, recovered_s, soak_markdown, write_report
from load_kit.soak.traffic import Traffic
from load_kit.surroundings import machine
from tests.clients.fake_server import (
    TEXT,
    Behaviour,
    FakeHandler,
    FakeServer,
    Received,
    events,
    good,
    openai_error,
    plain,
    reset,
    status,
    write_wav,
)
from tests.clients.no_wait import NoWaitClient
from tests.clients.test_programs import call
from tests.processes import started
from whisper_client import BadArgument

pytestmark = pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="reads Linux's /proc")

# built as TorchServe is: the parent listens, a child named as its workers are is replaced when it dies
PARENT = """
import os, socket, subprocess, sys
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
while True:
    subprocess.run([sys.executable, os.environ["WORKER"]])
"""


@pytest.fixture
def local_server(tmp_path: Path) -> Iterator[int]:
    """The port of a parent with one worker."""
    worker = tmp_path / "model_service_worker.py"
    worker.write_text("import time; time.sleep(300)")
    with started(
        [sys.executable, "-c", PARENT],
        env=os.environ | {"WORKER": str(worker)},  # in the command line, it would make the parent a worker
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        yield int(parent.stdout.readline())


def wait_for_worker(port: int, other_than: int = 0) -> int:
    give_up = time.monotonic() + 30
    while time.monotonic() < give_up:
        for pid in worker_pids(port):
            if pid != other_than:
                return pid
        time.sleep(0.02)
    raise AssertionError("no worker came")


# -- processes and memory


def test_a_servers_processes_are_found_by_its_port(local_server: int, free_port: int) -> None:
    worker = wait_for_worker(local_server)
    found = {process.pid: process for process in processes([local_server])}
    assert len(found) == 2
    assert found[worker].role == "worker" and found[worker].rss_mib > 1
    assert processes([free_port]) == [] and worker_pids(free_port) == []


def test_a_media_process_is_told_from_the_gateway(free_port: int) -> None:
    """Below `python -m gateway`, by its command line."""
    code = f"import socket, time; s = socket.create_server(('127.0.0.1', {free_port})); time.sleep(300)"
    with started([sys.executable, "-c", code, "gateway.media.child"]):
        give_up = time.monotonic() + 30
        while not (found := processes([free_port])):
            assert time.monotonic() < give_up
            time.sleep(0.02)
        assert [process.role for process in found] == ["media"]


def test_a_listener_is_not_a_caller(server: FakeServer) -> None:
    with socket.create_connection(("127.0.0.1", server.port)) as caller:
        assert os.getpid() in {
            process.pid for process in processes([server.port])
        }  # the fake server runs in this process
        assert processes([caller.getsockname()[1]]) == []


def series_of(rss_mib: list[float], role: str = "worker") -> Series:
    return Series(1, role, [5.0 * number for number in range(len(rss_mib))], rss_mib)


@pytest.mark.parametrize(
    ("rss_mib", "growth"),
    [
        ([100.0] * 41, 0.0),
        ([100.0] * 10 + [200.0] * 31, 0.0),  # loading the model is warm-up
        ([200.0 + number for number in range(41)], 28 / 212),
        ([200.0 - number for number in range(41)], -28 / 188),
        ([100.0] * 20, None),
    ],
)
def test_growth_is_a_line_after_the_warm_up(rss_mib: list[float], growth: float | None) -> None:
    assert series_of(rss_mib).growth() == (None if growth is None else pytest.approx(growth))


def test_memory_that_swings_is_flat_and_memory_that_climbs_is_not() -> None:
    rng = random.Random(0)
    swings = [500 + rng.uniform(-50, 50) for _ in range(360)]
    climbs = [value + 0.2 * number for number, value in enumerate(swings)]
    assert verdict_of(series_of(swings), 1_800).flat is True
    assert verdict_of(series_of(climbs), 1_800).flat is False
    assert verdict_of(series_of(climbs, "java"), 1_800).flat is None
    assert verdict_of(series_of(swings[:30]), 1_800).flat is None  # killed after 150 s


def test_what_was_not_judged_is_neither_flat_nor_grown() -> None:
    checkpoints = Checkpoints()
    for number in range(30):
        checkpoints.add(5.0 * number, [Process(7, "worker", 100.0), Process(8, "java", 100.0 + number)])
    checkpoints.add(150.0, [Process(9, "worker", 1.0)])  # seen once
    verdicts = checkpoints.verdicts(150)
    assert [(verdict.series.pid, verdict.flat) for verdict in verdicts] == [(7, True), (8, None)]
    assert all_flat(verdicts) is True and all_flat(verdicts[1:]) is None


# -- chaos


@pytest.fixture
def chaos(server: FakeServer, clip: Path) -> Chaos:
    with NoWaitClient(server.url) as client:
        form = client.form(clip, stream=True)
    return Chaos(server.url, "s3cret", form, huge_megabytes=3)


def test_malformed_uploads_arrive_with_the_token(server: FakeServer, chaos: Chaos) -> None:
    forms = malformed_forms(random.Random(0))
    server.play(*[openai_error(415, "no")] * len(forms))
    results = [chaos.malformed_upload() for _ in forms]
    assert results == [f"{name}: answered 415" for name, _ in forms]
    assert all(request.headers["Authorization"] == "Bearer s3cret" for request in server.received)


def test_a_caller_that_leaves(server: FakeServer, chaos: Chaos) -> None:
    """A whole request arrives for one that leaves in the answer; half of one never becomes a request."""
    assert chaos.cancel_upload() == "left in the middle of the form"
    assert chaos.cancel_answer() == "left at the first byte of the answer"
    give_up = time.monotonic() + 10
    while not server.received and time.monotonic() < give_up:
        time.sleep(0.01)
    assert len([request for request in server.received if request.fields.get("stream")]) == 1


def test_a_huge_file_is_sent_until_the_server_stops_it(server: FakeServer, chaos: Chaos) -> None:
    assert chaos.huge_file() == "3 of 3 MB taken, answered 200"
    server.max_body_bytes = 1_000
    assert "answered 413" in chaos.huge_file() or "hung up" in chaos.huge_file()


def test_a_killed_worker_is_one_of_the_server_named(
    server: FakeServer, clip: Path, local_server: int
) -> None:
    with NoWaitClient(server.url) as client:
        chaos = Chaos(server.url, None, client.form(clip), kill_workers_of=local_server)
    worker = wait_for_worker(local_server)
    assert chaos.kill_worker() == f"killed worker {worker}"
    assert wait_for_worker(local_server, other_than=worker) != worker


def test_workers_are_killed_in_the_first_half_only(chaos: Chaos) -> None:
    both = Chaos("http://127.0.0.1:1/", None, chaos._form, kill_workers_of=1)
    at = soak.chaos_acts(both, 100)
    assert "worker kill" in {at(99)[0] for _ in range(6)}
    assert "worker kill" not in {at(101)[0] for _ in range(12)}
    assert len({name for name, _ in both.acts}) == 5 and len(chaos.acts) == 4


# -- traffic


@pytest.fixture
def traffic(client: NoWaitClient, clip: Path) -> Traffic:
    traffic = Traffic(client, {}, max_wer=0.05)
    traffic.learn(Mix([Clip(clip, 1.0)], [1.0]), {})
    return traffic


def test_every_format_gives_the_same_text(server: FakeServer, traffic: Traffic, clip: Path) -> None:
    replies = [traffic.send(Clip(clip, 1.0)) for _ in range(40)]
    assert {traffic.judge(Clip(clip, 1.0), reply) for reply in replies} == {(None, "")}
    sent = {request.fields.get("response_format", ["stream"])[0] for request in server.received}
    assert sent == {"json", "verbose_json", "text", "stream"}


def test_another_text_is_a_failure(server: FakeServer, traffic: Traffic, clip: Path) -> None:
    server.play(*[plain(b'{"text": "something else"}', "application/json")] * 2)
    reply = traffic._senders["json"](Clip(clip, 1.0))
    failure, message = traffic.judge(Clip(clip, 1.0), reply)
    assert failure == "wrong text" and "'something else' for 'hello" in message


def test_a_broken_stream_is_begun_again(
    server: FakeServer, traffic: Traffic, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("load_kit.soak.traffic.time.sleep", lambda _: None)
    server.play(
        events({"type": "transcript.text.delta", "delta": "hel"}, end="reset"), status(503, Retry_After="0")
    )
    reply = traffic._stream(Clip(clip, 1.0))
    assert (reply.text, reply.causes, reply.tries) == (TEXT, ("broken stream",), 2)
    server.play(events({"error": {"message": "worker died"}}))
    assert traffic._stream(Clip(clip, 1.0)).text == TEXT
    server.play(openai_error(400, "no"), good)
    assert traffic.judge(Clip(clip, 1.0), traffic._senders["text"](Clip(clip, 1.0)))[0] == "http 400"


def test_a_reference_that_the_server_misses_in_calm_ends_the_soak(client: NoWaitClient, clip: Path) -> None:
    traffic = Traffic(client, {}, max_wer=0.05)
    with pytest.raises(BadArgument, match="before any chaos"):
        traffic.learn(Mix([Clip(clip, 1.0)], [1.0]), {"clip": "other words"})


# -- the report


def result_of(outcomes: list[Outcome], chaos_events: list[Event], rss_mib: list[float]) -> SoakResult:
    about = {
        "command": "clients/soak.py",
        "url": "http://127.0.0.1:1/",
        "server": None,
        "config_sha256": None,
        "client_machine": machine(),
        "started_at": "2026-11-21T04:00:00+00:00",
        "settings": {"concurrency": 1},
    }
    wall_s = max((outcome.done_s for outcome in outcomes), default=0)
    memory = [verdict_of(series_of(rss_mib), wall_s)] if rss_mib else []
    return SoakResult(about, LoadRun(tuple(outcomes), wall_s), chaos_events, memory)


def outcome(sent_s: float, done_s: float, failure: str | None = None) -> Outcome:
    return Outcome("a.wav", sent_s, sent_s, done_s, 2.0, 200, failure, "why | not" if failure else "")


def test_the_bar() -> None:
    good_one, bad_one = outcome(0, 200), outcome(0, 200, "wrong text")
    climbing = [100.0 + number for number in range(41)]
    assert result_of([good_one], [], [100.0] * 41).passed
    assert not result_of([good_one, bad_one], [], [100.0] * 41).passed
    assert not result_of([good_one], [], climbing).passed
    assert not result_of([], [], []).passed
    unmeasured = result_of([good_one], [], [])
    assert unmeasured.passed and "| not measured |" in soak_markdown(unmeasured)


def test_recovery_counts_requests_sent_after_the_act() -> None:
    outcomes = [outcome(0, 11), outcome(12, 14, "http 500"), outcome(12, 19), outcome(20, 21)]
    assert recovered_s(Event(10, "worker kill", ""), outcomes) == 9
    assert recovered_s(Event(30, "worker kill", ""), outcomes) is None


def test_the_report_tells_failures_chaos_and_memory(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    chaos_events = [Event(30, "worker kill", f"killed worker {pid}") for pid in (17, 18)]
    path = write_report(
        result_of([outcome(0, 60), outcome(0, 200, "wrong text")], chaos_events, [100.0] * 41),
        tmp_path / "out",
    )
    text = path.read_text()
    assert text.startswith("# Soak: failed (3.3 minutes)")
    assert "| 200 | a.wav | wrong text | why \\| not |" in text
    assert "| worker kill | 2 | 2 × killed worker | - |" in text and "| flat |" in text
    document = json.loads((tmp_path / "out" / "soak.json").read_text())
    assert document["passed"] is False and document["memory"][0]["flat"] is True
    assert (tmp_path / "out" / "soak.png").read_bytes().startswith(b"\x89PNG")


def test_a_report_without_matplotlib_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    text = write_report(result_of([outcome(0, 200)], [], [100.0] * 41), tmp_path / "out").read_text()
    assert text.startswith("# Soak: passed") and "Not drawn: a picture needs matplotlib: pip install" in text
    assert not (tmp_path / "out" / "soak.png").exists()


# -- the whole program


def transcribes_wav_only() -> Behaviour:
    """A server that knows a good upload from a bad one; it falters twice, before good ones only."""
    falters = {50: status(503, Retry_After="0"), 51: reset}
    good_uploads = itertools.count()

    def behave(handler: FakeHandler, request: Received) -> None:
        if (
            not request.file_bytes.startswith(b"RIFF")
            or len(request.file_bytes) < 1_000
            or "no_such_option" in request.fields
        ):
            return openai_error(415, "not audio")(handler, request)
        falters.get(next(good_uploads), good)(handler, request)

    return behave


@pytest.mark.slow
def test_a_short_soak(
    server: FakeServer, local_server: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Kills and resets among it; every well-formed request is answered right, whatever else is sent."""
    clips = [write_wav(tmp_path / f"{name}.wav", 0.5) for name in "ab"]
    (tmp_path / "a.txt").write_text(TEXT)
    server.default = transcribes_wav_only()
    server.max_body_bytes = 2_000_000
    wait_for_worker(local_server)
    arguments = ["--minutes", 0.15, "--chaos-every", 0.4, "--checkpoint-every", 0.2, "--concurrency", 2]
    arguments += ["--expect", tmp_path / "a.txt", "--huge-megabytes", 3, "--out", tmp_path / "out"]
    arguments += ["--kill-worker-of", local_server, "--url", server.url]
    assert call(soak, *clips, *arguments) == 0
    assert "every well-formed request answered correctly  yes" in capsys.readouterr().out
    document = json.loads((tmp_path / "out" / "soak.json").read_text())
    acts = {event["act"]: event["result"] for event in document["events"]}
    assert set(acts) == {
        "malformed upload",
        "cancel mid-upload",
        "worker kill",
        "cancel mid-answer",
        "huge file",
    }
    assert document["correct"] and document["figures"]["requests"] > 20
    roles = [series["role"] for series in document["memory"]]
    assert roles.count("worker") >= 2  # the killed and those that came after
    answered = {event["result"] for event in document["events"] if event["act"] == "malformed upload"}
    assert all("answered 4" in result for result in answered)


def test_ctrl_c_writes_the_report_so_far(server: FakeServer, clip: Path, tmp_path: Path) -> None:
    command = [sys.executable, soak.__file__, str(clip), "--url", server.url, "--out", str(tmp_path / "out")]
    with started(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as program:  # fmt: skip
        give_up = time.monotonic() + 60
        while len(server.received) < 20 and time.monotonic() < give_up:
            time.sleep(0.02)
        program.send_signal(signal.SIGINT)
        _, err = program.communicate(timeout=60)
    assert program.returncode == 130 and "Traceback" not in err
    assert "stopped by Ctrl-C" in (tmp_path / "out" / "soak.md").read_text()


@pytest.mark.parametrize("arguments", [["--minutes", "0"], ["--expect", "gone.txt"], ["--mix", "x"]])
def test_a_soak_that_cannot_run(arguments: list[str], clip: Path, server: FakeServer) -> None:
    with contextlib.suppress(SystemExit):
        assert call(soak, clip, "--url", server.url, *arguments) == 2
    assert server.received == []
