"""The names, versions and hashes in requirements files and in the lock beside each. Standard library only.

A requirements file is written by hand and pins what this project itself uses. The lock beside it, made by
scripts/lock, has those and everything they bring, with the SHA-256 of every file of each version.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

NAME = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)")
PIN = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^]]*\])?==(\S+)$")
HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})(?=\s|$)")
# Its builds for CPUs and for CUDA are other files of the same version on other indexes: no hash fits both.
UNLOCKED = "torch"


@dataclass(frozen=True, slots=True)
class Locked:
    """One distribution of a lock."""

    name: str
    version: str
    hashes: tuple[str, ...]  # SHA-256, hexadecimal, of every file of this version

    def __str__(self) -> str:
        """Its lines in a lock, as pip reads them."""
        return " \\\n    ".join(
            [f"{self.name}=={self.version}", *(f"--hash=sha256:{each}" for each in self.hashes)]
        )


def normal(name: str) -> str:
    """A distribution's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def required_names(file: Path) -> list[str]:
    """Names in a requirements file, without options and comments."""
    return [match[1] for line in _lines(file) if (match := NAME.match(line))]


def pins(file: Path) -> dict[str, str]:
    """Version by normal name of the exact pins in a requirements file or a lock."""
    return {normal(match[1]): match[2] for line in _lines(file) if (match := PIN.match(line.split(" ")[0]))}


def lock_of(file: Path) -> Path:
    """The lock beside a requirements file; it need not be there."""
    return file.with_suffix(".lock")


def locked(lock: Path) -> dict[str, Locked]:
    """What a lock holds, by normal name."""
    found = {}
    for line in _lines(lock):
        match = PIN.match(line.split(" ")[0])
        if match:
            found[normal(match[1])] = Locked(normal(match[1]), match[2], tuple(HASH.findall(line)))
    return found


def _lines(file: Path) -> list[str]:
    """Lines without comments, continued ones joined, those of included files in their place."""
    text = re.sub(r"\\\n\s*", "", file.read_text(encoding="utf-8"))
    lines = [bare for line in text.splitlines() if (bare := line.partition("#")[0].strip())]
    found = []
    for line in lines:
        found += _lines(file.parent / line[3:]) if line.startswith("-r ") else [line]
    return found
