#!/usr/bin/env python3
"""Measures the engine against its peers on the same random weights, with a forced number of tokens.

Every engine runs in a process of its own; they take turns, so that a disturbance of the machine meets all of
them. Prints a table and writes benchmarks/results/engine-SIZE.json.

    python benchmarks/engine.py --sizes tiny base --batches 1 4 8 16 --repetitions 3
    python benchmarks/engine.py --sizes nano --batches 1 2 --tokens 4 --repetitions 1 --no-publish
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tqdm import tqdm

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

from benchmarks import report, seeded  # noqa: E402
from benchmarks.machine import conditions, conditions_text  # noqa: E402
from benchmarks.peers.engines import KINDS, WINDOW_SECONDS  # noqa: E402
from benchmarks.peers.process import PeerFailed, PeerProcess  # noqa: E402

STAGES = ("features", "encode", "decode")
Rows = dict[str, dict[str, Any]]  # "engine@batch" → measurements


def measure(size: str, folder: Path, given: argparse.Namespace) -> tuple[Rows, dict[str, str]]:
    """All engines at one size: measurements, and why an engine could not take part."""
    path = seeded.checkpoint(size, folder)
    failed: dict[str, str] = {}
    with ExitStack() as stack:
        peers: dict[str, PeerProcess] = {}
        for name in tqdm(given.engines, desc=f"{size}: loading", leave=False):
            try:
                most = max(given.batches)
                peers[name] = stack.enter_context(PeerProcess(name, path, given.threads, most))
                peers[name].run(1, 4)  # warm-up
            except PeerFailed as error:
                failed[name] = str(error).strip().splitlines()[-1]
                peers.pop(name, None)
        turns = [
            (name, windows)
            for _ in range(given.repetitions)
            for windows in given.batches
            for name in peers
            if KINDS[name].batched or windows == min(given.batches)
        ]
        answers: dict[tuple[str, int], list[dict[str, Any]]] = {}
        for name, windows in tqdm(turns, desc=f"{size}: measuring"):
            # one at a time: two windows tell what sixteen would
            count = windows if KINDS[name].batched else given.single_windows
            answers.setdefault((name, windows), []).append(peers[name].run(count, given.tokens))
    rows = {f"{name}@{windows}": _row(found) for (name, windows), found in answers.items()}
    _check_tokens(answers, rows, given.tokens)
    return rows, failed


def _row(answers: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Medians and spreads per window of one engine at one batch size."""
    last = answers[-1]
    return {"answers": [{k: v for k, v in answer.items() if k != "tokens"} for answer in answers]} | {
        "windows": last["windows"],
        "peak_mib": max(answer["peak_mib"] for answer in answers),
        "first_tokens": last["tokens"][:2],
    }


def _check_tokens(answers: dict[tuple[str, int], list[dict[str, Any]]], rows: Rows, wanted: int) -> None:
    """Notes whether each engine decoded the forced number, and float32 engines the same tokens."""
    reference = next((found[-1]["tokens"] for (name, _), found in answers.items() if KINDS[name].exact), [])
    for (name, windows), found in answers.items():
        tokens, row = found[-1]["tokens"], rows[f"{name}@{windows}"]
        row["all_forced"] = all(len(one) == wanted for one in tokens)
        pairs = list(zip(tokens, reference, strict=False))
        row["same_as_reference"] = sum(one == other for one, other in pairs) if pairs else None
        row["compared"] = len(pairs)


def spread(row: dict[str, Any], key: str) -> report.Spread:
    """Seconds per window of a stage over the repetitions."""
    return report.Spread.of(answer[key] / row["windows"] for answer in row["answers"])


def rtfx(row: dict[str, Any]) -> report.Spread:
    """Audio seconds per second."""
    return report.Spread.of(WINDOW_SECONDS * row["windows"] / answer["total"] for answer in row["answers"])


def size_table(rows: Rows, tokens: int) -> str:
    """Engines by batch size: stages, RTFx, memory, ratio to openai-whisper and to CTranslate2 int8."""
    single = next((row for key, row in rows.items() if key.startswith("openai-whisper@")), None)
    lines = []
    for key, row in rows.items():
        name, batch = key.split("@")
        int8 = rows.get(f"ct2-int8@{batch}")
        side_by_side = row["windows"] if KINDS[name].batched else 1
        stages = [f"{1000 * spread(row, stage).median:.0f}" for stage in STAGES]
        lines.append(
            [
                KINDS[name].title,
                batch if KINDS[name].batched else "1",
                *stages,
                f"{1000 * spread(row, 'decode').median * side_by_side / tokens:.1f}",
                rtfx(row).text(1),
                _ratio(row, single),
                _ratio(row, int8),
                f"{row['peak_mib']:.0f}",
            ]
        )
    headers = ["engine", "batch", "features ms", "encode ms", "decode ms", "ms per step"]
    headers += ["RTFx (low–high)", "× openai-whisper", "× CTranslate2 int8", "peak MiB"]
    return report.table(headers, lines)


def _ratio(row: dict[str, Any], other: dict[str, Any] | None) -> str:
    return "" if other is None else f"{rtfx(row).median / rtfx(other).median:.2f}"


def section(size: str, data: dict[str, Any]) -> str:
    """The Markdown of one size."""
    rows: Rows = data["rows"]
    exact = [row for key, row in rows.items() if KINDS[key.split("@")[0]].exact and row["compared"]]
    same = sum(row["same_as_reference"] for row in exact)
    parts = [
        f"### Engines, {size} sizes, {data['tokens']} forced tokens per 30 s window",
        f"Milliseconds are per window, medians of {data['repetitions']} interleaved repetitions on "
        f"{data['threads']} threads. Windows decoded to the same tokens by all float32 engines: "
        f"{same} of {sum(row['compared'] for row in exact)} compared.",
        size_table(rows, data["tokens"]),
        *(f"- {KINDS[name].title} did not take part: {why}" for name, why in data["failed"].items()),
        conditions_text(data["conditions"]),
    ]
    return "\n\n".join(parts)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=["tiny", "base"], help="tiny, base, small, nano")
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 4, 8, 16])
    parser.add_argument("--engines", nargs="+", default=list(KINDS), choices=list(KINDS))
    parser.add_argument("--tokens", type=int, default=64, help="forced tokens per window")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--single-windows", type=int, default=2, help="windows for one-at-a-time engines")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--checkpoints", type=Path, default=Path(tempfile.gettempdir()) / "whisper-benchmark")
    parser.add_argument("--no-publish", action="store_true", help="print only")
    given = parser.parse_args()
    for size in given.sizes:
        found = conditions()
        rows, failed = measure(size, given.checkpoints, given)
        data = {"conditions": found, "rows": rows, "failed": failed, "tokens": given.tokens}
        data |= {"repetitions": given.repetitions, "threads": given.threads}
        report.hand_over(f"engine-{size}", data, section(size, data), keep=not given.no_publish)
    return 0


if __name__ == "__main__":
    sys.exit(main())
