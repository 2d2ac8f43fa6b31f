"""clients/live.py before the gateway: what it prints, writes and returns."""

from __future__ import annotations

import base64
import io
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import srt
import webvtt
from websockets.sync.server import ServerConnection, serve

import live as program
from tests.gateway.realtime.conftest import StartGateway
from tests.gateway.realtime.streams import SAMPLE, silence_pcm, speech_pcm, stream, wav_of
from tests.gateway.served import Gateway
from tests.processes import started
from whisper_client.command_line import run
from whisper_client.live_turns import TRANSCRIPTION

KEY = "sk-right-0123456789"
PROGRAM = Path(program.__file__)


@pytest.fixture(autouse=True)
def _no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WHISPER_TOKEN", raising=False)


@pytest.fixture
def sentence(tmp_path: Path) -> Path:
    """One turn that silence ends, and the beginning of another one."""
    return wav_of(speech_pcm(0, 1.5) + silence_pcm(0.9) + speech_pcm(0, 1.0), tmp_path / "sentence.wav")


def call(*arguments: object) -> int:
    """The exit code, that of argparse included."""
    try:
        return run(program.main, [str(argument) for argument in arguments])
    except SystemExit as stop:
        return int(stop.code or 0)


def test_a_files_turns_become_lines_and_subtitles(
    live: Gateway, sentence: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    subtitles, captions = tmp_path / "a.srt", tmp_path / "a.vtt"
    began = time.monotonic()
    assert call(sentence, "--url", live.url, "--srt", subtitles, "--vtt", captions) == 0
    assert time.monotonic() - began >= 3.4, "faster than it is spoken"
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert len(lines) == 2 and all(line.startswith("one two") for line in lines)
    assert err.splitlines() == [f"wrote {subtitles}", f"wrote {captions}"]
    cues = list(srt.parse(subtitles.read_text("utf-8")))
    assert [cue.content for cue in cues] == lines
    assert cues[0].start.total_seconds() < 0.3 and 1.4 < cues[0].end.total_seconds() < 2.4
    assert cues[0].end <= cues[1].start and cues[1].end.total_seconds() == pytest.approx(3.4, abs=0.1)
    assert [caption.text for caption in webvtt.from_string(captions.read_text("utf-8"))] == lines


def test_events_are_lines_of_json(live: Gateway, sentence: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--language", "de", "--model", "whisper-1", "--delay", "high")
    assert call(sentence, "--openai", f"{live.url}/v1", "--json", *options) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [event["type"] for event in events[:2]] == ["session.created", "session.updated"]
    asked = events[1]["session"]["audio"]["input"]["transcription"]
    assert (asked["language"], asked["model"], asked["delay"]) == ("de", "whisper-1", "high")
    assert sum(event["type"].endswith(".completed") for event in events) == 2
    assert all(event["type"] != "error" for event in events)


def test_samples_come_on_stdin(live: Gateway, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    samples = io.BytesIO(speech_pcm(0, 1.2) + b"\0")  # half a sample too many
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=samples))
    assert call("-", "--url", live.url) == 0
    assert capsys.readouterr().out.startswith("one two three")


def test_silence_is_no_line_and_no_error(
    live: Gateway, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seconds in (0.05, 0.5):  # less than the server commits, and more
        assert call(wav_of(silence_pcm(seconds), tmp_path / "silence.wav"), "--url", live.url) == 0
    assert capsys.readouterr() == ("", "")


class FakeDevice(threading.Thread):
    """A microphone of `sounddevice` that hears a sample at real time, then silence."""

    def __init__(self, callback: Any, **settings: Any) -> None:
        super().__init__(daemon=True)
        assert (settings["samplerate"], settings["channels"], settings["dtype"]) == (24_000, 1, "int16")
        self._callback = callback

    def run(self) -> None:
        pcm = speech_pcm(0, 1.5)
        for first in range(0, 10_000_000, 2_400):
            time.sleep(0.05)
            self._callback(pcm[first : first + 2_400].ljust(2_400, b"\0"), 1_200, None, None)

    def __enter__(self) -> FakeDevice:
        return self

    def __exit__(self, *_: object) -> None: ...


def test_the_microphone_until_ctrl_c(
    live: Gateway, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = SimpleNamespace(RawInputStream=FakeDevice, PortAudioError=OSError)
    monkeypatch.setitem(sys.modules, "sounddevice", module)
    ctrl_c = threading.Timer(1.2, signal.raise_signal, [signal.SIGINT])  # while the turn is open
    ctrl_c.start()
    assert call("--url", live.url) == 130
    out, err = capsys.readouterr()
    assert out.startswith("one two") and err == "listening; Ctrl-C ends\n"
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_the_microphones_package_is_asked_for_by_its_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    assert call() == 2
    assert capsys.readouterr().err == (
        "error: the microphone needs sounddevice: pip install -r requirements-live.txt\n"
    )
    assert (PROGRAM.parents[1] / "requirements-live.txt").exists()


def test_ctrl_c_answers_what_was_said(live: Gateway, tmp_path: Path) -> None:
    target = tmp_path / "a.srt"
    command = [sys.executable, str(PROGRAM), str(SAMPLE), "--url", live.url, "--json", "--srt", str(target)]
    with started(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:  # fmt: skip
        assert process.stdout is not None
        for line in process.stdout:
            if ".delta" in line:
                break
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, f"wrote {target}\n")
    assert len(list(srt.parse(target.read_text("utf-8")))) >= 1


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["nothing.wav"], 2, "no file nothing.wav"),
        ([__file__], 2, "cannot read sound from"),
        ([SAMPLE, "--device", "1"], 2, "--device is for the microphone"),
        ([SAMPLE, "--url", "http://127.0.0.1:8080/predictions/whisper"], 2, "give the gateway, --url http"),
        ([SAMPLE, "--url", "http://127.0.0.1:9"], 1, "no server at ws://127.0.0.1:9/v1/realtime: start one"),
        ([SAMPLE, "--srt", "/nowhere/a.srt"], 2, "give a file in a folder that exists"),
    ],
)
def test_what_cannot_be_is_one_line(
    arguments: list[Any], code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(*arguments) == code
    assert words in capsys.readouterr().err.splitlines()[-1]


def test_stdin_with_a_file_in_it_names_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(SAMPLE.read_bytes())))
    assert call("-") == 2
    assert "ffmpeg -i FILE -f s16le" in capsys.readouterr().err


def test_keys(
    start: StartGateway, sentence: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway = start(access={"keys": [KEY]})
    assert call(sentence, "--url", gateway.url, "--token", "sk-wrong") == 1
    err = capsys.readouterr().err
    assert (
        err.startswith("error: the server answered 401") and "WHISPER_TOKEN" in err and "sk-wrong" not in err
    )
    monkeypatch.setenv("WHISPER_TOKEN", KEY)
    assert call(sentence, "--url", gateway.url) == 0


def test_a_model_that_is_not_there(live: Gateway, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(SAMPLE, "--url", live.url, "--model", "parrot") == 1
    assert capsys.readouterr().err.startswith("error: the server refused the session: ")


def test_too_many_streams(start: StartGateway, capsys: pytest.CaptureFixture[str]) -> None:
    gateway = start(realtime={"max_streams": 1})
    with stream(gateway.url):
        assert call(SAMPLE, "--url", gateway.url, "--retries", "0") == 1
    assert capsys.readouterr().err == (
        "error: the server answered 503: 1 streams are open already; try again in 5 s; "
        "it is overloaded or starting, try again or lower the load\n"
    )


def test_an_old_stream_goes_on_in_a_new_one(
    start: StartGateway, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its turns keep their places in the sound."""
    gateway = start(realtime={"max_stream_s": 1.8})
    spoken = speech_pcm(0, 1.3) + silence_pcm(1.2) + speech_pcm(0, 1.3)
    target = tmp_path / "a.srt"
    assert call(wav_of(spoken, tmp_path / "long.wav"), "--url", gateway.url, "--srt", target) == 0
    cues = list(srt.parse(target.read_text("utf-8")))
    assert [cue.content.split()[:2] for cue in cues] == [["one", "two"]] * 2
    assert cues[1].end.total_seconds() == pytest.approx(3.8, abs=0.1)
    err = capsys.readouterr().err
    assert "the server closed the stream (the session has expired); connecting again in " in err


class Scripted:
    """A server of one turn that closes the first streams as told; it keeps the sound of each."""

    def __init__(self, *closes: int) -> None:
        self.closes = list(closes)
        self.heard: list[bytes] = []

    def __call__(self, socket: ServerConnection) -> None:
        number = len(self.heard)
        self.heard.append(b"")
        socket.send(json.dumps({"type": "session.created", "session": {}}))
        for message in socket:
            event = json.loads(message)
            if event["type"].endswith(".append"):
                self.heard[number] += base64.b64decode(event["audio"])
                if len(self.heard[number]) >= 24_000 and number < len(self.closes):
                    self._send(socket, "input_audio_buffer.speech_started", audio_start_ms=100)
                    self._send(socket, f"{TRANSCRIPTION}delta", delta="one")
                    return socket.close(self.closes[number], "for the test")
            if event["type"].endswith(".clear"):
                self._send(socket, "input_audio_buffer.committed")
                self._send(socket, f"{TRANSCRIPTION}completed", transcript="one two")
                self._send(socket, "input_audio_buffer.cleared")

    @staticmethod
    def _send(socket: ServerConnection, kind: str, **fields: Any) -> None:
        socket.send(json.dumps({"type": kind, "item_id": "item_1", **fields}))


@contextmanager
def scripted(*closes: int) -> Iterator[tuple[Scripted, str]]:
    script = Scripted(*closes)
    with serve(script, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield script, f"http://127.0.0.1:{server.socket.getsockname()[1]}"
        finally:
            server.shutdown()
            thread.join(5)


def test_what_had_no_answer_is_sent_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pcm = speech_pcm(0, 1.5)
    with scripted(1012, 1013) as (script, url):
        assert call(wav_of(pcm, tmp_path / "a.wav"), "--url", url) == 0
    assert len(script.heard) == 3
    assert script.heard[2] == pcm[9_600:], "speech began 100 ms behind the beginning of each stream"
    out, err = capsys.readouterr()
    assert out == "one two\n"
    assert err.count("the server closed the stream (for the test); connecting again in ") == 2


def test_patience_ends(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with scripted(1012, 1012, 1012) as (_, url):
        assert call(SAMPLE, "--url", url, "--retries", "1") == 1
    assert (
        capsys.readouterr()
        .err.splitlines()[-1]
        .startswith("error: the server closed the stream (for the test)")
    )


def test_a_stream_that_broke_the_rules_is_not_opened_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with scripted(1008) as (script, url):
        assert call(SAMPLE, "--url", url, "--srt", tmp_path / "a.srt") == 1
    assert len(script.heard) == 1
    err = capsys.readouterr().err.splitlines()
    assert err[-1] == "error: the server closed the stream (for the test): see the server's log"
