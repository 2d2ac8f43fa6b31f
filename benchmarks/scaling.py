#!/usr/bin/env python3
"""Puts what was measured last into docs/scaling.md: speeds, and the workers that follow from them.

python benchmarks/scaling.py
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

from benchmarks import report  # noqa: E402
from benchmarks.targets import OURS, WINDOW_SECONDS, measured, speed  # noqa: E402

DOCUMENT = ROOT / "docs" / "scaling.md"
SIZES = ("tiny", "base", "small")
HOURS = (10, 1_000, 100_000)  # of audio a day
PEAK, SHARE, SPARE = 3, 0.6, 1  # p, u and s of the page
ASSUMED = (200, 500)  # of machines that were not there
FULL_CLIENTS = 48  # windows outstanding: three batches


@dataclass(frozen=True, slots=True)
class Speed:
    """Seconds of audio per second of one worker on the machine that was measured."""

    model: str
    engine: float | None
    windows: float | None  # over HTTP
    gateway: float  # what to plan with
    is_reckoned: bool  # the last, from the engine's and the shares below


@dataclass(frozen=True, slots=True)
class Shares:
    """What is left of the speed before: over HTTP of the engine's, through the gateway of that."""

    http: float
    gateway: float


def workers(hours: float, rtfx: float) -> int:
    """Workers for so many hours of audio a day, by the page's formula."""
    return math.ceil(PEAK * hours / 24 / (rtfx * SHARE)) + SPARE


def shares(served: dict[str, Any], gateway: dict[str, Any]) -> Shares:
    """Of full batches, as both programs measured them."""
    direct, through = (statistics.median(gateway["throughput"][way]) for way in ("direct", "gateway"))
    return Shares(_windows_served(served) / statistics.median(served["in_process"]), through / direct)


def _windows_served(served: dict[str, Any]) -> float:
    (level,) = (row for row in served["levels"] if row["what"] == "window" and row["clients"] == FULL_CLIENTS)
    return float(WINDOW_SECONDS * len(level["latencies"]) / level["wall_s"])


def speeds(served: dict[str, Any], gateway: dict[str, Any]) -> list[Speed]:
    """The demo checkpoint's, and those of OpenAI's sizes whose engine was measured."""
    direct, through = (statistics.median(gateway["throughput"][way]) for way in ("direct", "gateway"))
    found = [Speed("demo checkpoint", None, direct, through, False)]
    left = shares(served, gateway)
    for size in SIZES:
        data = measured(f"engine-{size}")
        if data is None:
            continue
        batch = max(int(key.split("@")[1]) for key in data["rows"])
        each = [speed(data["rows"], f"{name}@{batch}") for name in OURS]
        alone = WINDOW_SECONDS / min(seconds for seconds in each if seconds)
        over_http = _windows_served(served) if served["size"] == size else None
        known = over_http or alone * left.http
        found.append(Speed(f"{size}'s size", alone, over_http, known * left.gateway, True))
    return found


def speeds_section() -> str | None:
    """The Markdown of speeds and workers; None where the service was not measured."""
    served, gateway = measured("served"), measured("gateway")
    if served is None or gateway is None:
        return None
    found, left = speeds(served, gateway), shares(served, gateway)
    header = ["one worker", "engine", "windows over HTTP", "R, through the gateway"]
    header += [f"workers for {hours:,} h a day" for hours in HOURS]
    rows = [[one.model, _or_none(one.engine), _or_none(one.windows),
             f"{'about ' if one.is_reckoned else ''}{one.gateway:.0f}", *_counts(one.gateway)]
            for one in found]  # fmt: skip
    rows += [[f"*a GPU, not measured: if R = {rtfx}*", "", "", str(rtfx), *_counts(rtfx)] for rtfx in ASSUMED]
    missing = [size for size in SIZES if measured(f"engine-{size}") is None]
    lines = [
        report.table(header, rows),
        f'"About" is reckoned: {100 * left.http:.0f} % of the engine\'s speed are left over HTTP (taken at '
        f"{served['size']}'s size), {100 * left.gateway:.0f} % of that through the gateway (with the demo "
        f"checkpoint). Sizes have random weights and {served['tokens']} tokens in each 30 s window; speech "
        f"has 25 to 100 in English and some 400 in Hindi, which is slower by that.",
    ]
    if missing:
        command = f"python benchmarks/engine.py --sizes {' '.join(missing)}"
        lines.append(f"Not measured yet: {' and '.join(missing)} (`{command}`).")
    names = ("gateway", "served", *(f"engine-{size}" for size in SIZES))
    return "\n\n".join([*lines, _origins(names)])


def front_section() -> str | None:
    """The Markdown of the gateway's processor time; None where it was not measured."""
    data = measured("front-cost")
    if data is None:
        return None
    roles = ("gateway", "media process")
    rows = []
    for row in data["rows"]:
        each = [1000 * row["cpu_s"][role] / row["audio_s"] for role in roles]
        peaks = [sum(each) / 1000 * PEAK * hours / 24 for hours in HOURS]
        rows.append([row["clip"], *(f"{value:.2f}" for value in (*each, sum(each))), *map(_cores, peaks)])
    header = ["ms of processor time per second of audio", "gateway", "media processes", "both"]
    header += [f"cores at the peak of {hours:,} h a day" for hours in HOURS]
    return "\n\n".join([report.table(header, rows), _origins(["front-cost"])])


def _counts(rtfx: float) -> list[str]:
    return [f"{workers(hours, rtfx):,}" for hours in HOURS]


def _cores(value: float) -> str:
    return f"{value:.2g}" if value < 10 else f"{value:.0f}"


def _or_none(value: float | None) -> str:
    return "" if value is None else f"{value:.0f}"


def _origins(names: Iterable[str]) -> str:
    """When and where each was measured, machines that are the same told once."""
    by_machine: dict[str, list[str]] = {}
    for name in names:
        if (data := measured(name)) is None:
            continue
        at = data["conditions"]
        machine = f"{at['cpu']} (family/model {at['family']}), {at['cores']} cores"
        by_machine.setdefault(machine, []).append(f"`{at['command']}` {at['date']}")
    return "; ".join(f"{', '.join(commands)} on {machine}" for machine, commands in by_machine.items()) + "."


def publish(document: Path = DOCUMENT) -> Sequence[str]:
    """Writes the sections whose results are there into the page; returns them."""
    sections = {"speeds": speeds_section(), "front-cost": front_section()}
    found = {name: text for name, text in sections.items() if text is not None}
    for name, text in found.items():
        report.publish(name, text, document)
    return list(found.values())


def main() -> int:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter).parse_args()
    print("\n\n".join(publish()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
