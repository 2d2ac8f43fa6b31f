"""The locks: whole, as the requirements files say, and for every machine that is supported."""

from __future__ import annotations

import importlib.metadata
import re
from itertools import product
from pathlib import Path

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement

from scripts.requirements import UNLOCKED, Locked, lock_of, locked, normal, pins

ROOT = Path(__file__).resolve().parents[2]
FILES = (
    "requirements.txt",
    "model-archiver/requirements.txt",
    "requirements-gateway.txt",
    "requirements-ctranslate2.txt",
    "requirements-families.txt",
    "requirements-bulk.txt",
    "requirements-dev.txt",
)
BASE = locked(ROOT / "requirements.lock")
each_file = pytest.mark.parametrize("file", [ROOT / name for name in FILES], ids=FILES)
# CUDA's libraries and triton come with torch's build for them, and with that build's versions.
CUDA = re.compile(r"^(nvidia-|cuda-|triton$)")
# The first and the last of each Python that is supported, on each machine.
PYTHONS = ("3.11.0", "3.11.99", "3.12.0", "3.12.99", "3.13.0", "3.13.99")
MACHINES = (("linux", "Linux", "x86_64"), ("linux", "Linux", "aarch64"), ("darwin", "Darwin", "arm64"))


def has(file: Path) -> dict[str, Locked]:
    """What is installed once `file` is, beside requirements.txt."""
    return {**BASE, **locked(lock_of(file))}


def counts_somewhere(marker: Marker | None) -> bool:
    """Whether a requirement with this marker, and of no extra, counts on any supported machine."""
    if marker is None:
        return True
    return any(
        marker.evaluate({
            "python_full_version": python, "python_version": python.rpartition(".")[0], "extra": "",
            "implementation_name": "cpython", "platform_python_implementation": "CPython", "os_name": "posix",
            "sys_platform": sys_platform, "platform_system": system, "platform_machine": machine,
        })
        for python, (sys_platform, system, machine) in product(PYTHONS, MACHINES)
    )  # fmt: skip


@each_file
def test_every_pin_is_locked_in_its_version(file: Path) -> None:
    wanted = {name: version for name, version in pins(file).items() if name != UNLOCKED}
    assert wanted
    assert wanted == {name: has(file)[name].version for name in wanted}


@each_file
def test_every_entry_has_hashes_and_nothing_else_is_in_the_lock(file: Path) -> None:
    text = lock_of(file).read_text(encoding="utf-8")
    entries = locked(lock_of(file)).values()
    assert all(entry.hashes for entry in entries)
    understood = sum(len(entry.hashes) + 1 for entry in entries)
    assert understood == sum(not line.startswith("#") for line in text.splitlines())


@each_file
def test_neither_torch_nor_an_address_is_in_it(file: Path) -> None:
    names = locked(lock_of(file)).keys()
    assert UNLOCKED not in names
    assert not [name for name in names if CUDA.match(name)]
    text = lock_of(file).read_text(encoding="utf-8")
    assert "://" not in text


def test_the_locks_agree_and_do_not_repeat_each_other() -> None:
    names = [name for file in FILES for name in locked(lock_of(ROOT / file))]
    beside_the_base = [name for name in names if name in BASE]
    assert len(beside_the_base) == len(BASE)


@each_file
def test_nothing_is_missing_on_any_machine(file: Path) -> None:
    """By the needs that what is installed here declares: on each Python, Linux or macOS, Intel or ARM."""
    missing = []
    for distribution in importlib.metadata.distributions():
        if (name := normal(distribution.metadata["Name"])) not in locked(lock_of(file)):
            continue
        for need in map(Requirement, distribution.requires or ()):
            wanted = normal(need.name)
            if wanted == UNLOCKED or CUDA.match(wanted) or not counts_somewhere(need.marker):
                continue
            if wanted not in has(file) or not need.specifier.contains(has(file)[wanted].version):
                missing.append(f"{name} needs {need}")
    assert missing == []


def test_a_build_tool_for_sources_is_locked() -> None:
    assert BASE["setuptools"].version == pins(ROOT / "requirements.txt")["setuptools"]
