#!/usr/bin/env python3
"""What it costs that the engine's waiting threads spin, or sleep: on quiet cores, and beside a busy one.

Each policy is a process of its own, because OpenMP reads it once; they take turns. `serve.sh` sets the one
that scripts/serve/torchserve.py names.

    python benchmarks/waiting.py --spins 0 1000 3000 10000 30000
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tqdm import tqdm

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

from benchmarks import report, seeded  # noqa: E402
from benchmarks.machine import conditions, conditions_text  # noqa: E402
from benchmarks.peers.engines import Ours  # noqa: E402

BATCH = 16
QUIET, BUSY = "quiet", "beside one busy core"


def child(path: Path, given: argparse.Namespace) -> None:
    """Prints milliseconds per window of each repetition."""
    engine = Ours(path, given.threads, precision=given.precision, max_batch_size=BATCH)
    windows = seeded.sounds(BATCH)
    engine.run(windows, given.tokens)
    for _ in range(given.repetitions):
        print(1000 * engine.run(windows, given.tokens).total / BATCH, flush=True)


def measured(spins: int | None, given: argparse.Namespace) -> list[float]:
    """Milliseconds per window with so many spins before a thread sleeps; None: OpenMP's own choice."""
    unset = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
    environment = {name: value for name, value in os.environ.items() if name not in unset}
    if spins is not None:
        environment["GOMP_SPINCOUNT"] = str(spins)
    command = [sys.executable, __file__, "--child", *sys.argv[1:]]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return [float(line) for line in done.stdout.split()]


@contextmanager
def a_busy_core() -> Iterator[None]:
    """Something that always wants one core."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def all_measured(given: argparse.Namespace) -> dict[str, dict[str, list[float]]]:
    """Condition → number of spins → milliseconds per window."""
    found: dict[str, dict[str, list[float]]] = {QUIET: {}, BUSY: {}}
    policies: Sequence[int | None] = [*given.spins, None]
    for _ in tqdm(range(given.rounds), desc="rounds"):
        for spins in policies:
            name = "default" if spins is None else f"{spins:,}"
            found[QUIET].setdefault(name, []).extend(measured(spins, given))
            with a_busy_core():
                found[BUSY].setdefault(name, []).extend(measured(spins, given))
    return found


def section(data: dict[str, Any]) -> str:
    """The Markdown: a row per policy."""
    rows = [
        [name, *(report.Spread.of(data["ms"][condition][name]).text(0) for condition in (QUIET, BUSY))]
        for name in data["ms"][QUIET]
    ]
    what = f"{data['size']} sizes, {data['precision']}, {BATCH} windows of {data['tokens']} tokens"
    return "\n\n".join(
        [
            "### Threads that wait",
            f"Milliseconds per window, {what}, {data['threads']} threads; spins before a thread sleeps.",
            report.table(["spins", QUIET, BUSY], rows),
            conditions_text(data["conditions"]),
        ]
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--size", default="tiny")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--spins", nargs="+", type=int, default=[0, 1000, 3000, 10_000, 30_000])
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--repetitions", type=int, default=2, help="of each process")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--checkpoints", type=Path, default=Path(tempfile.gettempdir()) / "whisper-benchmark")
    parser.add_argument("--no-publish", action="store_true", help="print only")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    path = seeded.checkpoint(given.size, given.checkpoints)
    if given.child:
        child(path, given)
        return 0
    names = ("size", "precision", "tokens", "threads")
    data = {"conditions": conditions(), **{name: getattr(given, name) for name in names}}
    data["ms"] = all_measured(given)
    report.hand_over("waiting", data, section(data), publish_it=not given.no_publish)
    return 0


if __name__ == "__main__":
    sys.exit(main())
