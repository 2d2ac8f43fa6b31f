#!/usr/bin/env python3
"""Shows which operators a batch spends its time in, encoder and decode steps together.

python benchmarks/hot_spots.py --size tiny --batch 1 16
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

from torch.profiler import ProfilerActivity, profile  # noqa: E402
from tqdm import tqdm  # noqa: E402

from benchmarks import report, seeded  # noqa: E402
from benchmarks.machine import conditions, conditions_text  # noqa: E402
from benchmarks.peers.engines import Ours  # noqa: E402

TOP = 8  # operators listed


def hot_spots(engine: Ours, batch: int, tokens: int) -> dict[str, Any]:
    """Milliseconds by operator, its own time without what it calls, and the stages without a profiler."""
    windows = seeded.sounds(batch)
    engine.run(windows, 4)
    plain = engine.run(windows, tokens)
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        engine.run(windows, tokens)
    averages = seen.key_averages()
    operators = sorted(averages, key=lambda event: event.self_cpu_time_total, reverse=True)
    total = sum(event.self_cpu_time_total for event in averages)
    return {
        "stages_ms": {name: 1000 * getattr(plain, name) for name in ("features", "encode", "decode")},
        "calls_per_step": sum(event.count for event in averages) / tokens,
        "operators": [
            {"name": event.key, "share": event.self_cpu_time_total / total, "calls": event.count}
            for event in operators[:TOP]
        ],
    }


def section(data: dict[str, Any]) -> str:
    parts = ["### Where the time goes"]
    for row in data["rows"]:
        stages = ", ".join(f"{name} {spent:.0f} ms" for name, spent in row["stages_ms"].items())
        parts.append(
            f"**{row['size']}, {row['precision']}, batch {row['batch']}**, {data['tokens']} tokens: "
            f"{stages}; {row['calls_per_step']:.0f} operator calls per step."
        )
        lines = [[one["name"], f"{100 * one['share']:.0f} %", one["calls"]] for one in row["operators"]]
        parts.append(report.table(["operator", "share of the time", "calls"], lines))
    return "\n\n".join([*parts, conditions_text(data["conditions"])])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--size", nargs="+", default=["tiny"])
    parser.add_argument("--batch", nargs="+", type=int, default=[1, 16])
    parser.add_argument("--precision", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--checkpoints", type=Path, default=Path(tempfile.gettempdir()) / "whisper-benchmark")
    parser.add_argument("--no-publish", action="store_true", help="print only")
    given = parser.parse_args()
    data: dict[str, Any] = {"conditions": conditions(), "tokens": given.tokens, "rows": []}
    plans = [(size, precision) for size in given.size for precision in given.precision]
    for size, precision in tqdm(plans):
        path = seeded.checkpoint(size, given.checkpoints)
        engine = Ours(path, given.threads, precision=precision)
        for batch in given.batch:
            row = {"size": size, "precision": precision, "batch": batch}
            data["rows"].append(row | hot_spots(engine, batch, given.tokens))
    report.hand_over("hot-spots", data, section(data), publish_it=not given.no_publish)
    return 0


if __name__ == "__main__":
    sys.exit(main())
