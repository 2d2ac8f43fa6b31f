"""`python -m scripts.lock`: makes the locks beside the requirements files again. Run it when a pin changes.

Asks pip what it would install for all of them together in an empty environment, with the oldest Python that
is supported, and the package index for the SHA-256 of every file of those versions. The index is pip's own,
and its address is written nowhere. Needs `packaging` (requirements-dev.txt).
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from scripts.environment import EnvironmentFailure, make_venv
from scripts.package_index import IndexFailure, address_of, file_hashes
from scripts.requirements import UNLOCKED, Locked, lock_of, normal, required_names

ROOT = Path(__file__).resolve().parents[1]
BASE = ROOT / "requirements.txt"  # what it brings is not repeated in the others' locks: they go beside it
FILES = (
    BASE,
    ROOT / "model-archiver" / "requirements.txt",
    ROOT / "requirements-gateway.txt",
    ROOT / "requirements-ctranslate2.txt",
    ROOT / "requirements-dev.txt",
)
# CUDA's libraries and triton come with torch's build for them, and with that build's versions.
CUDA = re.compile(r"^(nvidia-|cuda-|triton$)")
# The first and the last of each Python that is supported, on each machine: what markers are asked about.
PYTHONS = ("3.11.0", "3.11.99", "3.12.0", "3.12.99")
MACHINES = (("linux", "Linux", "x86_64"), ("linux", "Linux", "aarch64"), ("darwin", "Darwin", "arm64"))
TARGETS = tuple(
    {
        "python_full_version": python,
        "python_version": python.rpartition(".")[0],
        "implementation_name": "cpython",
        "implementation_version": python,
        "platform_python_implementation": "CPython",
        "os_name": "posix",
        "sys_platform": sys_platform,
        "platform_system": system,
        "platform_machine": machine,
    }
    for python in PYTHONS
    for sys_platform, system, machine in MACHINES
)


class LockFailure(Exception):
    """The locks cannot be made; the message is one line that says why."""


@dataclass(frozen=True, slots=True)
class Distribution:
    """What pip would install of one name."""

    name: str
    version: str
    sha256: str  # of the file that pip chose here
    requires: tuple[Requirement, ...]
    requires_python: str


def resolve(python: Path, arguments: Sequence[str]) -> dict[str, Distribution]:
    """Distributions by normal name that pip would install for `arguments`; raises LockFailure."""
    with tempfile.TemporaryDirectory() as work:
        report = Path(work) / "report.json"
        command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--dry-run",
                   "--ignore-installed", "--report", str(report), *arguments]  # fmt: skip
        if subprocess.run(command, stdout=sys.stderr).returncode != 0:
            raise LockFailure("pip cannot resolve the requirements: its reason is above")
        installs = json.loads(report.read_text(encoding="utf-8"))["install"]
    return {each.name: each for each in map(distribution, installs)}


def distribution(item: Mapping[str, Any]) -> Distribution:
    """One entry of pip's installation report."""
    metadata = item["metadata"]
    return Distribution(
        name=normal(metadata["name"]),
        version=metadata["version"],
        sha256=item["download_info"]["archive_info"].get("hashes", {}).get("sha256", ""),
        requires=tuple(Requirement(line) for line in metadata.get("requires_dist", ())),
        requires_python=metadata.get("requires_python", ""),
    )


def closure(
    roots: Iterable[str], graph: Mapping[str, Distribution]
) -> tuple[set[str], dict[str, Requirement]]:
    """Names that `roots` bring on any target, CUDA's apart, and those of them that `graph` lacks.

    A name that is there in a version which some target does not accept raises LockFailure.
    """
    found: set[tuple[str, str]] = set()
    missing: dict[str, Requirement] = {}
    waiting = [(normal(name), "") for name in roots]
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) in found:
            continue
        found.add((name, extra))
        for need in graph[name].requires:
            wanted = normal(need.name)
            if CUDA.match(wanted) or not applies(need, extra):
                continue
            if wanted not in graph:
                missing[wanted] = need
                continue
            if not need.specifier.contains(graph[wanted].version, prereleases=True):
                raise LockFailure(f"{name} needs {need} on somewhere, and {graph[wanted].version} was chosen")
            waiting += [(wanted, each) for each in ("", *need.extras)]
    return {name for name, _ in found}, missing


def applies(need: Requirement, extra: str) -> bool:
    """Whether a requirement counts on any target."""
    return need.marker is None or any(need.marker.evaluate({**target, "extra": extra}) for target in TARGETS)


def complete(python: Path, roots: Iterable[str], graph: dict[str, Distribution]) -> dict[str, Distribution]:
    """`graph` with what only other targets need, in versions that pip chooses beside the ones there."""
    while missing := closure(roots, graph)[1]:
        with tempfile.TemporaryDirectory() as work:
            chosen = Path(work) / "constraints.txt"
            chosen.write_text("".join(f"{each.name}=={each.version}\n" for each in graph.values()))
            wanted = [f"{need.name}{need.specifier}" for need in missing.values()]
            graph = {**resolve(python, ["--constraint", str(chosen), *wanted]), **graph}
    return graph


def check_pythons(graph: Mapping[str, Distribution], names: Iterable[str]) -> None:
    """Raises LockFailure if a version refuses one of the Pythons that are supported."""
    for each in (graph[name] for name in sorted(names)):
        refused = [python for python in PYTHONS if not SpecifierSet(each.requires_python).contains(python)]
        if refused:
            raise LockFailure(
                f"{each.name} {each.version} needs Python {each.requires_python}, {refused[0]} must work "
                f"too: run this with the oldest Python that is supported"
            )


def entry(index: str, each: Distribution) -> Locked:
    """`each` with the hashes on the index; raises LockFailure if the file that pip chose is not there."""
    hashes = file_hashes(index, each.name, each.version)
    if each.sha256 not in hashes:
        raise LockFailure(
            f"the file of {each.name} {each.version} that pip takes is not among the "
            f"{len(hashes)} on the index: is it from elsewhere?"
        )
    return Locked(each.name, each.version, hashes)


def lock_text(file: Path, entries: Iterable[Locked]) -> str:
    """A lock's whole text."""
    return (
        f"# Made by `python -m scripts.lock` from {file.name}, not edited by hand. docs/dependencies.md\n"
        f"# says how it is installed, and why torch is not in it.\n"
    ) + "".join(f"{entry}\n" for entry in entries)


def make_locks(files: Sequence[Path], python: Path) -> dict[Path, str]:
    """Text by path of the lock of each of `files`; the first one's is not repeated in the others."""
    names = {file: required_names(file) for file in files}
    arguments = [word for file in files for word in ("--requirement", str(file))]
    roots = [name for each in names.values() for name in each]
    graph = complete(python, roots, resolve(python, arguments))
    needs = {file: closure(names[file], graph)[0] - {UNLOCKED} for file in files}
    everything = set[str]().union(*needs.values())
    check_pythons(graph, everything)
    index = address_of(python)
    with ThreadPoolExecutor(max_workers=8) as pool:
        entries = {each.name: each for each in pool.map(lambda name: entry(index, graph[name]), everything)}
    base = needs[files[0]]
    own = {file: needs[file] if file == files[0] else needs[file] - base for file in files}
    return {lock_of(file): lock_text(file, [entries[name] for name in sorted(own[file])]) for file in files}


def main() -> int:
    """Exit status: 0 written, 1 with one line on stderr."""
    argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0]).parse_args()
    try:
        with tempfile.TemporaryDirectory() as work:
            texts = make_locks(FILES, make_venv(Path(work) / "venv"))
    except (LockFailure, IndexFailure, EnvironmentFailure, OSError) as error:
        print(f"lock: {error}", file=sys.stderr)
        return 1
    for path, text in texts.items():
        path.write_text(text, encoding="utf-8")
        print(f"{path.relative_to(ROOT)}: {text.count('==')} distributions", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
