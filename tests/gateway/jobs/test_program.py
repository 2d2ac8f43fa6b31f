"""clients/jobs.py against a gateway."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import jobs
from tests.gateway.jobs.conftest import ALICE
from tests.gateway.served import Gateway
from whisper_client.batch_jobs import names_of
from whisper_client.command_line import run
from whisper_client.errors import BadArgument

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
    (folder / "more").mkdir(parents=True)
    for name in ("a", "more/b"):
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
    assert "error: c.wav: " in capsys.readouterr().err
    written = sorted(out.iterdir())
    assert [path.name for path in written] == ["a.wav.srt", "more_b.wav.srt"]
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


def test_files_are_named_as_in_their_folder(tmp_path: Path) -> None:
    for name in ("talks/a.wav", "talks/more/a.wav", "other/a.wav", "b.wav"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    talks, other, alone = (str(tmp_path / name) for name in ("talks", "other", "b.wav"))
    assert names_of([talks, alone]).keys() == {"a.wav", "more/a.wav", "b.wav"}
    assert names_of([talks, other]).keys() == {f"{talks}/a.wav", "more/a.wav", f"{other}/a.wav"}
    with pytest.raises(BadArgument, match="twice"):
        names_of([alone, alone])
