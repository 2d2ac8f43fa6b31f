"""The locks: whole, as the requirements files say, and for every machine that is supported."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from scripts import lock
from scripts.requirements import UNLOCKED, Locked, lock_of, locked, normal, pins

BASE = locked(lock_of(lock.BASE))
each_file = pytest.mark.parametrize("file", lock.FILES, ids=lambda file: str(file.relative_to(lock.ROOT)))


def has(file: Path) -> dict[str, Locked]:
    """What is installed once `file` is, beside requirements.txt."""
    return {**BASE, **locked(lock_of(file))}


@each_file
def test_every_pin_is_locked_in_its_version(file: Path) -> None:
    wanted = {name: version for name, version in pins(file).items() if name != UNLOCKED}
    assert wanted
    assert wanted == {name: has(file)[name].version for name in wanted}


@each_file
def test_every_line_is_a_version_with_hashes(file: Path) -> None:
    text = lock_of(file).read_text(encoding="utf-8")
    entries = locked(lock_of(file)).values()
    assert text == lock.lock_text(file, entries)  # nothing is in it that was not understood
    for entry in entries:
        assert entry.hashes, entry.name
        assert list(entry.hashes) == sorted(set(entry.hashes))


@each_file
def test_neither_torch_nor_an_address_is_in_it(file: Path) -> None:
    names = locked(lock_of(file)).keys()
    assert UNLOCKED not in names
    assert not [name for name in names if lock.CUDA.match(name)]
    text = lock_of(file).read_text(encoding="utf-8")
    assert "://" not in text


def test_the_locks_agree_with_each_other() -> None:
    seen: dict[str, Locked] = {}
    for file in lock.FILES:
        for name, entry in locked(lock_of(file)).items():
            assert seen.setdefault(name, entry) == entry


@each_file
def test_nothing_is_missing_on_any_machine_and_nothing_left_over(file: Path) -> None:
    """By the needs that what is installed here declares: on each Python, Linux or macOS, Intel or ARM."""
    graph = {}
    for distribution in importlib.metadata.distributions():
        name = normal(distribution.metadata["Name"])
        if name in has(file) or name == UNLOCKED:
            version = has(file)[name].version if name != UNLOCKED else distribution.version
            needs = tuple(Requirement(line) for line in distribution.requires or ())
            graph[name] = lock.Distribution(name, version, "", needs, "")
    for name in has(file).keys() - graph.keys():  # for another Python, as async-timeout is, or an extra
        graph[name] = lock.Distribution(name, has(file)[name].version, "", (), "")
    found, missing = lock.closure(pins(file), graph)
    assert not missing
    base = set() if file == lock.BASE else BASE.keys()
    assert found - {UNLOCKED} - base == locked(lock_of(file)).keys()


def test_a_build_tool_for_sources_is_locked() -> None:
    assert BASE["setuptools"].version == pins(lock.BASE)["setuptools"]
