"""`bulk_request.py --to`: rows, errors as rows, a killed run that goes on, sums."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import bulk_request
from bulk_rows.entries import entry_for
from bulk_rows.gateway_calls import GatewayCalls
from bulk_rows.rows import Row
from bulk_rows.subtitles import file_text
from tests.clients.fake_server import (
    DURATION_S,
    TEXT,
    FakeHandler,
    FakeServer,
    Received,
    good,
    openai_error,
    reset,
    slow,
    status,
    write_wav,
)
from tests.processes import started
from whisper_client.command_line import run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    for number in range(20):
        write_wav(tmp_path / "in" / f"{number:02}.wav", 0.1)
    return tmp_path / "in"


def transcribe(server: FakeServer, folder: Path, *arguments: object) -> int:
    to = ("--to", folder.parent / "out", "--url", f"{server.root}/v1")
    try:
        return run(bulk_request.main, [str(each) for each in (folder, *to, *arguments)])
    except SystemExit as stop:
        return int(stop.code or 0)


def written_rows(folder: Path) -> list[dict[str, Any]]:
    return [
        json.loads(line) for line in (folder.parent / "out" / "rows.jsonl").read_text("utf-8").splitlines()
    ]


def summary(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder.parent / "out" / "summary.json").read_text())
    assert (
        found["lines"] == found["doubled"] + found["good"] + sum(found["errors"].values()) + found["missing"]
    )
    return found


def test_a_row_for_each_file(server: FakeServer, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    server.description = {"data": [{"id": "whisper-1"}]}
    assert transcribe(server, folder, "--language", "hi") == 0
    rows = written_rows(folder)
    assert sorted(row["path"] for row in rows) == sorted(map(str, folder.iterdir()))
    expected = {
        "text": TEXT,
        "language": "english",
        "duration": DURATION_S,
        "model": "whisper-1",
        "attempts": 1,
    }
    assert expected.items() <= rows[0].items()
    assert (rows[0]["error"], rows[0]["error_code"]) == (None, None)
    request = server.received[0]
    assert request.fields["response_format"] == ["verbose_json"] and request.fields["language"] == ["hi"]
    keys = {each.headers["Idempotency-Key"] for each in server.received}
    assert keys == {row["id"] for row in rows}
    assert summary(folder)["good"] == 20
    assert "20 lines = 20 good + 0 errors + 0 doubled + 0 missing" in capsys.readouterr().out


def test_a_row_names_the_model_that_answered(server: FakeServer, folder: Path) -> None:
    """A gateway chooses one by the language, whatever was asked for."""

    def by_language(handler: FakeHandler, request: Received) -> None:
        model = "hindi" if request.file_name < "05.wav" else "whisper"
        body = json.dumps({"text": TEXT, "language": "hindi"}).encode()
        handler.answer(200, body, "application/json", X_Model=model)

    server.default = by_language
    assert transcribe(server, folder, "--language", "hi") == 0
    assert Counter(row["model"] for row in written_rows(folder)) == {"hindi": 5, "whisper": 15}


def test_errors_are_rows_and_are_retried_when_asked(server: FakeServer, folder: Path) -> None:
    def but_the_third(handler: FakeHandler, request: Received) -> None:
        (openai_error(422, "no sound in it") if request.file_name == "03.wav" else good)(handler, request)

    server.default = but_the_third
    (folder / "04.wav").write_bytes(b"")
    assert transcribe(server, folder) == 1
    failed = {Path(row["path"]).name: row for row in written_rows(folder) if row["error_code"]}
    assert {name: row["error_code"] for name, row in failed.items()} == {
        "03.wav": "http_422", "04.wav": "unreadable_file",
    }  # fmt: skip
    assert "no sound in it" in failed["03.wav"]["error"] and failed["03.wav"]["text"] is None
    assert summary(folder)["errors"] == {"http_422": 1, "unreadable_file": 1}

    server.default, asked = good, len(server.received)
    assert transcribe(server, folder) == 2, "rows are there"
    assert transcribe(server, folder, "--resume") == 1, "the errors stay"
    assert len(server.received) == asked
    write_wav(folder / "04.wav", 0.1)
    assert transcribe(server, folder, "--resume", "--retry-errors") == 0
    assert len(server.received) == asked + 2
    assert len({row["id"] for row in written_rows(folder)}) == len(written_rows(folder)) == 20
    assert summary(folder)["before"] == 18


def test_a_killed_run_goes_on_where_it_was(server: FakeServer, folder: Path) -> None:
    finished = folder.parent / "out" / "rows.jsonl"

    def until_it_hangs(handler: FakeHandler, request: Received) -> None:
        (good if len(server.received) <= 8 else slow)(handler, request)

    server.default = until_it_hangs
    program = [sys.executable, bulk_request.__file__, str(folder), "--to", str(finished.parent)]
    command = [*program, "--url", f"{server.root}/v1", "--concurrency", "2", "--resume"]
    with started(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while not (finished.exists() and finished.read_bytes().count(b"\n") >= 5):
            assert process.poll() is None
            time.sleep(0.02)
        assert transcribe(server, folder, "--resume") == 2, "two runs in one folder"
        process.send_signal(signal.SIGKILL)
        process.wait(10)
    done = {row["id"] for row in written_rows(folder)}
    assert 5 <= len(done) <= 8
    server.released.set()
    with finished.open("ab") as file:
        file.write(b'{"id": "torn')  # as a kill within a write leaves it
    server.default = good
    assert transcribe(server, folder, "--resume") == 0
    assert Counter(row["id"] for row in written_rows(folder)).most_common(1)[0][1] == 1
    assert (summary(folder)["good"], summary(folder)["before"]) == (20, len(done))
    sent = Counter(each.headers["Idempotency-Key"] for each in server.received)
    assert all(sent[each] == 1 for each in done), "a finished row was done again"
    assert sum(sent.values()) <= 20 + 2, "more than the two requests under way were repeated"


def test_a_server_that_is_away_for_a_while_costs_no_row(server: FakeServer, clip: Path) -> None:
    """It has answered before, is gone for longer than the client's own retries, and comes back."""
    now = [0.0]
    calls = GatewayCalls(
        [f"{server.root}/v1/audio/transcriptions"],
        retries=0, patience_s=60, sleep=lambda s: now.__setitem__(0, now[0] + s), now=lambda: now[0],
    )  # fmt: skip
    server.play(*[reset] * 10, status(503, "starting"), status(429, "busy", Retry_After="20"))
    row = calls(entry_for(str(clip), {}))
    assert row.ok and row.attempts == 13
    assert now[0] == pytest.approx(11 * 2 + 20)
    server.play(*[reset] * 100)
    lost = calls(entry_for(str(clip), {}))
    assert (lost.error_code, lost.attempts) == ("unreachable", 31), "one try each 2 s"


def test_calls_go_round_the_gateways(server: FakeServer, clip: Path, free_port: int) -> None:
    urls = [f"{server.root}/v1/audio/transcriptions", f"http://127.0.0.1:{free_port}/v1/audio/transcriptions"]
    calls = GatewayCalls(urls, sleep=lambda _: None)
    assert [calls(entry_for(str(clip), {"prompt": str(number)})).ok for number in range(4)] == [True] * 4


def test_subtitles_lie_beside(server: FakeServer, folder: Path) -> None:
    assert transcribe(server, folder, "--subtitles", "txt", "--subtitles", "vtt") == 0
    row = written_rows(folder)[0]
    name = f"{Path(row['path']).stem}-{row['id']}"
    out = folder.parent / "out"
    assert (out / "txt" / f"{name}.txt").read_text("utf-8") == f"{TEXT}\n"
    assert (out / "vtt" / f"{name}.vtt").read_text("utf-8") == "WEBVTT\n\n"


def test_segments_become_cues() -> None:
    pieces = ({"start": 0.0, "end": 1.001, "text": " hi "}, {"start": 2.0, "end": 3.0, "text": " there"})
    cues = "1\n00:00:00,000 --> 00:00:01,001\nhi\n\n2\n00:00:02,000 --> 00:00:03,000\nthere\n\n"
    assert file_text(Row("1", "a.wav", segments=pieces), "srt") == cues


@pytest.mark.parametrize(
    "wrong", [("--count", "3"), ("--format", "srt"), ("--retry-errors",), ("--json", "x.json")]
)
def test_what_does_not_go_with_rows_is_refused(
    server: FakeServer, folder: Path, wrong: tuple[str, ...]
) -> None:
    assert transcribe(server, folder, *wrong) == 2
    assert server.received == []


def test_a_bucket_is_no_folder_and_needs_pyarrow(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    out = str(folder.parent / "out")
    for wrong in (
        ["s3://talks/in", "--to", out],
        [out, "--to", out, "--parquet"],
        [out, "--to", "s3://talks"],
    ):
        assert run(bulk_request.main, wrong) == 2
    said = capsys.readouterr().err.splitlines()
    assert ["requirements-bulk.txt" in line for line in said] == [True, True, False]
    assert "python -m bulk" in said[2]


def test_no_server_is_said_at_once(folder: Path, free_port: int, capsys: pytest.CaptureFixture[str]) -> None:
    away = FakeServer(port=free_port)
    assert transcribe(away, folder) == 1
    assert "no server at" in capsys.readouterr().err
