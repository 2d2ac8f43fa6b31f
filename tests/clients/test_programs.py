"""The command-line programs against the fake server: what they print, write and return."""

from __future__ import annotations

import importlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest

import bulk_request
import request_train
import test_client as client_program
from tests.clients.fake_server import (
    TEXT,
    FakeServer,
    deltas,
    events,
    good,
    openai_error,
    reset,
    slow,
    status,
    write_wav,
)
from tests.processes import started
from whisper_client.command_line import run

CLIENTS = Path(bulk_request.__file__).parent
PROGRAMS = ("test_client", "bulk_request", "request_train", "soak", "download_audio")


def call(program: ModuleType, *arguments: object) -> int:
    """The exit code, that of argparse included."""
    try:
        return run(program.main, [str(argument) for argument in arguments])
    except SystemExit as stop:
        return int(stop.code or 0)


@pytest.mark.parametrize("name", [*PROGRAMS, "client_ceiling", "live"])
def test_help_shows_examples(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(importlib.import_module(name), "--help") == 0
    assert f"examples:\n  python clients/{name}.py" in capsys.readouterr().out


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs_start_from_any_folder(name: str, tmp_path: Path) -> None:
    """As a person starts them: nothing of pytest's import path."""
    script = [sys.executable, str(CLIENTS / f"{name}.py")]
    done = subprocess.run(script, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and "usage:" in done.stderr and "Traceback" not in done.stderr


# -- test_client


def test_text_on_stdout_the_rest_on_stderr(
    server: FakeServer, clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = call(client_program, clip, "--url", server.url, "--language", "hi", "--option", "beam_size=5")
    out, err = capsys.readouterr()
    assert (code, out) == (0, f"{TEXT}\n")
    assert err.startswith("clip.wav: ")
    assert server.received[0].fields == {"response_format": ["text"], "language": ["hi"], "beam_size": ["5"]}


def test_other_formats_come_as_the_server_wrote_them(
    server: FakeServer, clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(client_program, clip, "--url", server.url, "--format", "srt") == 0
    assert capsys.readouterr().out.startswith("1\n00:00:00,000 --> ")
    assert call(client_program, clip, "--url", server.url, "--format", "json") == 0
    assert json.loads(capsys.readouterr().out) == {"text": TEXT}


def test_a_repeated_option_is_a_list(server: FakeServer, clip: Path) -> None:
    granularities = [
        "--option",
        "timestamp_granularities=word",
        "--option",
        "timestamp_granularities[]=segment",
    ]
    call(client_program, clip, "--openai", server.root, *granularities)
    assert server.received[0].fields["timestamp_granularities[]"] == ["word", "segment"]
    assert server.received[0].fields["model"] == ["whisper-1"]


def test_stdin(server: FakeServer, clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stdin = io.TextIOWrapper(io.BytesIO(clip.read_bytes()))
    monkeypatch.setattr(sys, "stdin", stdin)
    assert call(client_program, "-", "--url", server.url) == 0
    assert (server.received[0].file_name, server.received[0].file_bytes) == ("audio.wav", clip.read_bytes())


def test_a_folder_of_transcripts(
    server: FakeServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ("a/talk.wav", "b/talk.wav", "c/talk.wav", "other.wav")
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write_wav(tmp_path / name, 0.1)
    out = tmp_path / "deep" / "out"
    code = call(client_program, *(tmp_path / name for name in names), "--url", server.url, "--out", out)
    assert code == 0 and capsys.readouterr().out == ""
    written = {path.name: path.read_text("utf-8") for path in out.iterdir()}
    expected = ("talk.txt", "talk.wav.txt", "talk.wav-2.txt", "other.txt")
    assert written == dict.fromkeys(expected, f"{TEXT}\n")


def test_stream_prints_the_text_once(
    server: FakeServer, clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(client_program, clip, "--url", server.url, "--stream") == 0
    assert capsys.readouterr().out == f"{TEXT}\n"
    server.play(events({"type": "transcript.text.done", "text": "only at the end"}))
    assert call(client_program, clip, "--url", server.url, "--stream") == 0
    assert capsys.readouterr().out == "only at the end\n"


def test_stream_as_json_lines(server: FakeServer, clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(client_program, clip, "--url", server.url, "--stream", "--format", "json") == 0
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == deltas()


def test_one_bad_file_does_not_stop_the_others(
    server: FakeServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [write_wav(tmp_path / f"{name}.wav", 0.1) for name in "abc"]
    server.play(openai_error(415, "not audio"))
    assert call(client_program, *files, "--url", server.url) == 1
    out, err = capsys.readouterr()
    assert out == f"{TEXT}\n" * 2
    assert f"error: {files[0]}: the server answered 415: not audio\n" in err


def test_no_server_is_one_line_with_the_next_command(
    free_port: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [write_wav(tmp_path / f"{name}.wav", 0.1) for name in "ab"]
    for program in (client_program, bulk_request):
        assert call(program, *files, "--url", f"http://127.0.0.1:{free_port}/predictions/whisper") == 1
        out, err = capsys.readouterr()
        assert out == "" and len(err.splitlines()) == 1
        assert err.startswith("error: no server at http://127.0.0.1:") and "./serve.sh" in err


def test_the_token_comes_from_the_environment_or_the_command_line(
    server: FakeServer, clip: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WHISPER_TOKEN", "from-environment")
    call(client_program, clip, "--url", server.url)
    call(client_program, clip, "--url", server.url, "--token", "from-argument")
    call(bulk_request, clip, "--url", server.url, "--warm-up", 0)
    sent = [request.headers["Authorization"] for request in server.received]
    assert sent == ["Bearer from-environment", "Bearer from-argument", "Bearer from-environment"]
    assert "from-" not in "".join(capsys.readouterr())


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["gone.wav"],
        ["."],
        ["-", "-"],
        ["CLIP", "--stream", "--format", "srt"],
        ["CLIP", "--stream", "--out", "x"],
        ["CLIP", "--option", "novalue"],
        ["CLIP", "--option", "stream=true"],
        ["CLIP", "--timeout", "0"],
        ["CLIP", "--timeout", "nan"],
        ["CLIP", "--retries", "-1"],
        ["CLIP", "--url", "127.0.0.1:8080"],
        ["CLIP", "--url", "http://a/", "--openai", "http://b/"],
        ["CLIP", "--token", "two words"],
    ],
)
def test_wrong_usage_is_exit_2_and_sends_nothing(
    arguments: list[str], clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [str(clip) if argument == "CLIP" else argument for argument in arguments]
    assert call(client_program, *given) == 2
    out, err = capsys.readouterr()
    assert out == "" and "error: " in err and "two words" not in err


def test_a_reader_that_leaves_is_no_traceback(server: FakeServer, clip: Path) -> None:
    command = [sys.executable, str(CLIENTS / "test_client.py"), str(clip), "--url", server.url]
    read_end, write_end = os.pipe()
    os.close(read_end)
    done = subprocess.run(command, stdout=write_end, stderr=subprocess.PIPE, timeout=60)
    os.close(write_end)
    assert done.returncode == 1 and b"Traceback" not in done.stderr


# -- load programs


def test_bulk_sends_every_file_and_reports(
    server: FakeServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a.wav", "b.wav", "c.wav"):
        write_wav(tmp_path / name, 0.1)
    result = tmp_path / "result.json"
    server.play(status(503, Retry_After="0"))
    arguments = [tmp_path, "--url", server.url, "--concurrency", 2, "--count", 7, "--json", result]
    assert call(bulk_request, *arguments, "--warm-up", 2) == 0
    text = capsys.readouterr().out
    assert "7 in " in text and "7 succeeded" in text and "RTFx" in text
    document = json.loads(result.read_text())
    assert document["schema_version"] == 2 and document["kind"] == "closed loop"
    expected = {"concurrency": [2], "count": 7, "clips": 3, "warm_up": 2}
    assert {name: value for name, value in document["settings"].items() if value is not None} == expected
    (level,) = document["levels"]
    assert level["figures"]["succeeded"] == 7 and level["figures"]["audio_s"] == 7 * 2.5
    assert len(level["outcomes"]) == 7 and len(server.received) == 7 + 2 + 1
    names = sorted(Path(outcome["path"]).name for outcome in level["outcomes"])
    assert names == ["a.wav"] * 3 + ["b.wav"] * 2 + ["c.wav"] * 2


def test_bulk_fails_when_one_request_does(
    server: FakeServer, clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.play(openai_error(400, "language is wrong"), reset)
    code = call(bulk_request, clip, "--url", server.url, "--count", 4, "--warm-up", 0, "--retries", 0)
    out, err = capsys.readouterr()
    assert code == 1
    assert "4 in " in out and "1 connection, 1 http 400" in out
    assert "language is wrong" in err


def test_a_warm_up_that_fails_ends_the_run(
    server: FakeServer, clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.play(openai_error(400, "language is wrong"))
    assert call(bulk_request, clip, "--url", server.url, "--count", 50) == 1
    assert len(server.received) == 1
    assert "warm-up with" in capsys.readouterr().err


def test_a_result_that_cannot_be_written_is_said_before_the_load(server: FakeServer, clip: Path) -> None:
    assert call(bulk_request, clip, "--url", server.url, "--json", "/nowhere/result.json") == 2
    assert server.received == []


def test_train_sends_what_the_seed_says(server: FakeServer, tmp_path: Path) -> None:
    for name in ("a.wav", "b.wav"):
        write_wav(tmp_path / name, 0.1)
    runs = []
    for seed in (1, 1, 2):
        result = tmp_path / "result.json"
        arguments = ["--rate", 100, "--duration", 0.2, "--seed", seed, "--url", server.url, "--json", result]
        assert call(request_train, *arguments, tmp_path) == 0
        document = json.loads(result.read_text())
        assert document["kind"] == "open loop" and document["settings"]["seed"] == seed
        (level,) = document["levels"]
        runs.append(sorted((outcome["due_s"], outcome["path"]) for outcome in level["outcomes"]))
        assert len(runs[-1]) > 0
        assert all(item["latency_s"] >= item["done_s"] - item["sent_s"] for item in level["outcomes"])
    assert runs[0] == runs[1] != runs[2]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_run_that_hangs_and_reports(
    server: FakeServer, tmp_path: Path, number: signal.Signals
) -> None:
    """And its cuttings are removed: `timeout` and CI end programs by SIGTERM."""
    clip = write_wav(tmp_path / "clip.wav", 1.0)
    (folder := tmp_path / "temporary").mkdir()
    server.play(good, good, slow, slow, slow)
    command = [sys.executable, str(CLIENTS / "bulk_request.py"), str(clip), "--url", server.url]
    command += ["--concurrency", "2", "--count", "9", "--warm-up", "0", "--mix", "1s:1"]
    with started(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "TMPDIR": str(folder)},
        # a shell's background jobs ignore Ctrl-C, and so would what these tests start
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as program:  # fmt: skip
        give_up = time.monotonic() + 60
        while len(server.received) < 4 and time.monotonic() < give_up:  # both threads hang in slow answers
            time.sleep(0.02)
        assert list(folder.iterdir())
        program.send_signal(number)
        out, err = program.communicate(timeout=60)
    assert program.returncode == 130 and "Traceback" not in err
    assert "2 succeeded" in out and "stopped         by Ctrl-C" in out
    assert not list(folder.iterdir())


@pytest.mark.parametrize(
    "arguments",
    [
        ["--rate", "0", "--duration", "1"],
        ["--rate", "1"],
        ["--rate", "1", "--duration", "1e-9"],
        ["--rate", "1e9", "--duration", "1e9"],
        ["--rate", "x", "--duration", "1"],
    ],
)
def test_a_train_that_cannot_run(arguments: list[str], clip: Path) -> None:
    assert call(request_train, *arguments, clip) == 2
