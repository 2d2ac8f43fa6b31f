#!/usr/bin/env python3
"""Sets what was measured last against what the engine must reach, from benchmarks/results alone.

python benchmarks/targets.py
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

from benchmarks import report  # noqa: E402
from benchmarks.peers.engines import WINDOW_SECONDS  # noqa: E402

REACHED, MISSED = "reached", "**missed**"
NO_AMX = "not measurable here: the target is for AMX, which this processor lacks"
OURS = ("ours-float32", "ours-bfloat16")
Line = tuple[str, str, str]  # target, measured, verdict


def measured(name: str) -> dict[str, Any] | None:
    """A benchmark's results, None when it has not been run."""
    try:
        return report.load(name)
    except FileNotFoundError:
        return None


def speed(rows: dict[str, Any], key: str, stage: str = "total") -> float | None:
    """Median seconds per window of a stage of "engine@batch"."""
    if key not in rows:
        return None
    row = rows[key]
    return statistics.median(answer[stage] for answer in row["answers"]) / row["windows"]


def ratios(rows: dict[str, Any], other: str, batch: int, stage: str = "total") -> dict[str, float]:
    """How many times as fast as `other` each precision of ours is."""
    base = speed(rows, other, stage)
    found = {name: speed(rows, f"{name}@{batch}", stage) for name in OURS}
    return {name: base / mine for name, mine in found.items() if base and mine}


def listed(found: dict[str, float]) -> str:
    return ", ".join(f"{name.removeprefix('ours-')} {value:.2f}×" for name, value in found.items())


def engine_lines(size: str, batch: int) -> list[Line]:
    """The lines that compare engines at one size."""
    data = measured(f"engine-{size}")
    if data is None:
        return []
    rows = data["rows"]
    has_amx = "amx_bf16" in data["conditions"]["flags"]
    single = min((int(key.split("@")[1]) for key in rows if key.startswith("openai-whisper@")), default=1)
    int8, openai = f"ct2-int8@{batch}", f"openai-whisper@{single}"
    wanted = {"tiny": 4.0, "base": 3.0}.get(size)
    lines: list[Line] = []

    def compare(text: str, found: dict[str, float], least: float, needs_amx: bool) -> None:
        verdict = REACHED if found and max(found.values()) >= least else MISSED
        lines.append((text, listed(found), NO_AMX if needs_amx and not has_amx else verdict))

    if wanted and int8 in rows:
        text = f"{size}, batch {batch}: ≥ {wanted:g}× CTranslate2 int8"
        compare(text, ratios(rows, int8, batch), wanted, True)
    if openai in rows:
        found = ratios(rows, openai, batch)
        compare(f"{size}, batch {batch}: ≥ 5× openai-whisper one at a time", found, 5.0, True)
        only = {name: value for name, value in found.items() if name == "ours-float32"}
        compare(f"{size}, batch {batch}, bf16 off: ≥ 1.3× openai-whisper float32", only, 1.3, False)
    if found := ratios(rows, "ct2-int8@1", 1, "decode"):
        times = {name: 1 / value for name, value in found.items()}
        verdict = REACHED if min(times.values()) <= 1.5 else MISSED
        lines.append(
            (f"{size}, batch 1: time per decode step ≤ 1.5× CTranslate2 int8", listed(times), verdict)
        )
    plain, ours = speed(rows, int8), speed(rows, f"ours-ct2-int8@{batch}")
    if plain and ours:
        text = f"{size}, batch {batch}: our ctranslate2 engine within 10 % of plain CTranslate2"
        lines.append(
            (text, f"{100 * plain / ours:.0f} % of its speed", REACHED if ours <= 1.1 * plain else MISSED)
        )
    return lines


def served_lines() -> list[Line]:
    data = measured("served")
    if data is None:
        return []
    alone = statistics.median(data["in_process"])
    full = [row for row in data["levels"] if row["what"] == "window" and row["clients"] == 48]
    rates = [WINDOW_SECONDS * len(row["latencies"]) / row["wall_s"] / alone for row in full]
    text = "windows over HTTP at 48 outstanding: ≥ 90 % of in-process"
    return [(text, f"{100 * rate:.0f} %", REACHED if rate >= 0.9 else MISSED) for rate in rates]


def choice_lines() -> list[Line]:
    data = measured("choices")
    if data is None:
        return []
    lines: list[Line] = []
    if runs := data.get("compaction"):
        for mix, kinds in runs.items():
            middle = {
                kind: statistics.median(one["decode"] for one in found) for kind, found in kinds.items()
            }
            ratio = middle["without"] / middle["with"]
            verdict = REACHED if ratio >= 1.2 else MISSED
            lines.append((f"compaction, {mix}: decoding ≥ 1.2× faster", f"{ratio:.2f}×", verdict))
    text = "all guards on: ≤ 5 % slower than guards off on clean speech"
    if found := data.get("guards"):
        on, off = (statistics.median(found["runs"][f"guards {x}, detection off"]) for x in ("on", "off"))
        lines.append((text, f"{100 * (on / off - 1):+.1f} %", REACHED if on <= 1.05 * off else MISSED))
    else:
        lines.append((text, "", "not measured: no demo checkpoint"))
    return lines


def precision_lines() -> list[Line]:
    data = measured("precision")
    if data is None:
        return []
    first, *others = data["precisions"]
    words = sum(row["words"] for row in data["rows"])
    lines: list[Line] = []
    for name in others:
        wrong = sum(row[name]["wrong"] - row[first]["wrong"] for row in data["rows"])
        points = 100 * wrong / words
        text = f"{name}: WER on the demo test set within 0.1 points of {first}"
        lines.append((text, f"{points:+.2f} points", REACHED if points <= 0.1 else MISSED))
    return lines


def section() -> str:
    """The Markdown: every line of what must be reached that the results tell about."""
    steps: list[Callable[[], list[Line]]] = [
        lambda: engine_lines("tiny", 16),
        lambda: engine_lines("base", 16),
        served_lines,
        choice_lines,
        precision_lines,
    ]
    lines = [line for step in steps for line in step()]
    return "### What must be reached\n\n" + report.table(["target", "measured", "verdict"], lines)


def main() -> int:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter).parse_args()
    text = section()
    print(text)
    report.publish("targets", text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
