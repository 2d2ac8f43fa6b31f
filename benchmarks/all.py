#!/usr/bin/env python3
"""Runs every engine benchmark in order, each in a process of its own; one that fails does not stop the rest.

About half an hour on two quiet cores. `--resume` leaves out what the same command measured in the last day.

    python benchmarks/all.py
    python benchmarks/all.py --resume --only served choices
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

from benchmarks import report  # noqa: E402
from benchmarks.machine import DATE_FORMAT  # noqa: E402

MAX_AGE = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Program:
    """One command, and the name of its results; None where it only reads others'."""

    name: str
    arguments: tuple[str, ...]
    results: str | None

    @property
    def command(self) -> list[str]:
        return [f"benchmarks/{self.arguments[0]}", *self.arguments[1:]]


def program(name: str, line: str, results: str | None) -> Program:
    return Program(name, tuple(line.split()), results)


PROGRAMS = (
    program("roofline", "roofline.py", "roofline"),
    program("engine-tiny", "engine.py --sizes tiny", "engine-tiny"),
    program("served", "served.py", "served"),
    program("choices", "choices.py", "choices"),
    program("hot-spots", "hot_spots.py", "hot-spots"),
    program("precision", "precision.py", "precision"),
    program("engine-base", "engine.py --sizes base --repetitions 2", "engine-base"),
    program("targets", "targets.py", None),
)


def is_done(wanted: Program, now: datetime) -> bool:
    """Whether the same command left results within MAX_AGE before `now`."""
    if wanted.results is None:
        return False
    try:
        found = report.load(wanted.results)["conditions"]
    except FileNotFoundError:
        return False
    measured = datetime.strptime(found["date"], DATE_FORMAT).replace(tzinfo=UTC)
    return bool(found["command"] == " ".join(["python", *wanted.command]) and now - measured < MAX_AGE)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    names = [one.name for one in PROGRAMS]
    parser.add_argument("--only", nargs="+", default=names, choices=names)
    parser.add_argument("--resume", action="store_true", help="leave out what is measured already")
    given = parser.parse_args()
    failed = []
    for one in PROGRAMS:
        if one.name not in given.only or (given.resume and is_done(one, datetime.now(UTC))):
            continue
        print(f"== {' '.join(one.command)}", flush=True)
        begun = time.monotonic()
        if subprocess.run([sys.executable, *one.command], cwd=ROOT, check=False).returncode:
            failed.append(one.name)
        print(f"== {one.name}: {time.monotonic() - begun:.0f} s", flush=True)
    if failed:
        print(f"failed: {', '.join(failed)}; the others' results are written", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
