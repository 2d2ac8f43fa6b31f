"""clients/jobs.py against a gateway."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import jobs
from tests.gateway.jobs.conftest import ALICE
from tests.gateway.served import Gateway
from whisper_client.command_line import run

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHISPER_TOKEN", ALICE)
    monkeypatch.setattr("whisper_client.batch_jobs.LOOK_S", 0.05)


def call(gateway: Gateway, *arguments: object) -> int:
    return run(jobs.main, [*map(str, arguments), "--url", f"{gateway.url}/v1"])


def test_submit_status_wait_fetch_cancel(
    gateway: Gateway, speech: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "talks"
    folder.mkdir()
    for name in ("a", "b"):
        shutil.copy(speech, folder / f"{name}.wav")
    (folder / "c.wav").write_bytes(b"no audio")
    assert call(gateway, "submit", folder, "--format", "srt") == 0
    batch_id = capsys.readouterr().out.strip()
    assert call(gateway, "wait", batch_id) == 1, "one file is no audio"
    assert call(gateway, "status", batch_id) == 0
    assert f"{batch_id}  completed    2 of 3 done, 1 failed, 32 s of audio" in capsys.readouterr().out
    assert call(gateway, "status") == 0
    assert batch_id in capsys.readouterr().out
    out = tmp_path / "out"
    out.mkdir()
    assert call(gateway, "fetch", batch_id, "--out", out) == 1
    assert f"error: {folder}/c.wav: " in capsys.readouterr().err
    written = sorted(out.iterdir())
    assert [path.name.rpartition("_")[2] for path in written] == ["a.wav.srt", "b.wav.srt"]
    assert all(path.read_text().startswith("1\n00:00:0") for path in written)
    assert call(gateway, "cancel", batch_id) == 1
    assert "the batch is completed already" in capsys.readouterr().err


def test_submit_and_wait_prints_the_texts(
    gateway: Gateway, speech: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(gateway, "submit", speech, "--wait", "--format", "verbose_json", "--language", "en") == 0
    _, text = capsys.readouterr().out.splitlines()
    assert json.loads(text)["language"] == "english"


def test_mistakes_are_one_line(gateway: Gateway, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(gateway, "fetch", "batch_0") == 1
    assert "there is no batch" in capsys.readouterr().err
    assert call(gateway, "submit", tmp_path / "nothing.wav") == 2
    assert run(jobs.main, ["status", "--url", "http://127.0.0.1:9/v1", "--retries", "0"]) == 1
    assert "no server at http://127.0.0.1:9/v1" in capsys.readouterr().err
