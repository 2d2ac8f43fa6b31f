"""The summary as a picture: error rates on the left, the difference against openai-whisper on the right."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot

from benchmarks.wer.intervals import Interval
from benchmarks.wer.page import title
from benchmarks.wer.summary import BASELINE, DERIVED, Set, Summary

MIN_WORDS = 50  # below, the interval is as wide as the picture
STYLES = {
    "ours-parallel": ("#d95f0e", "o"),
    "ours-sequential": ("#fdae6b", "s"),
    BASELINE: ("#222222", "D"),
    "faster-whisper": ("#3182bd", "^"),
    "faster-whisper-batched": ("#9ecae1", "v"),
    "whisper.cpp": ("#756bb1", "P"),
}
LOWEST, HIGHEST = 1.0, 200.0  # per cent; the axis is logarithmic
WIDEST = 12.0  # points; what lies beyond is drawn at the edge, its number is in the table


def draw(summary: Summary, systems: Sequence[str], path: Path) -> None:
    """Writes a PNG: a band a set of MIN_WORDS words or more, in it a mark with its interval a system."""
    sets = [one for one in summary.sets if one.systems and one.words >= MIN_WORDS and one.kind != "all"]
    compared = [name for name in systems if name != BASELINE]
    figure, (rates, differences) = pyplot.subplots(
        1, 2, sharey=True, figsize=(12, 1.6 + len(sets) * (0.25 + 0.13 * len(systems)))
    )
    for row, one in enumerate(sets):
        if row % 2:
            for axes in (rates, differences):
                axes.axhspan(row - 0.5, row + 0.5, color="#f4f4f4", zorder=0)
        for place, name in _places(row, systems):
            found = one.systems.get(name)
            if found:
                _mark(rates, name, place, found.wer, found.interval, (LOWEST, HIGHEST))
        for place, name in _places(row, compared):
            found = one.systems.get(name)
            if found and found.points is not None:
                _mark(differences, name, place, found.points, found.difference, (-WIDEST, WIDEST))
    rates.set_ylim(max(len(sets), 1) - 0.5, -0.5)
    rates.set_yticks(range(len(sets)), [_label(one) for one in sets])
    _finish(figure, rates, differences, systems)
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=110, metadata={"Software": None})
    pyplot.close(figure)


def _places(row: int, systems: Sequence[str]) -> list[tuple[float, str]]:
    """The heights of the systems' marks inside the band of a set."""
    return [(row + 0.8 * ((i + 0.5) / len(systems) - 0.5), name) for i, name in enumerate(systems)]


def _mark(
    axes: Any, name: str, place: float, value: float, interval: Interval | None, ends: tuple[float, float]
) -> None:
    def inside(number: float) -> float:
        return min(max(number, ends[0]), ends[1])

    colour, shape = STYLES[name]
    if interval:
        axes.plot([inside(interval.low), inside(interval.high)], [place, place], color=colour, lw=1.6)
    axes.plot([inside(value)], [place], shape, color=colour, ms=5)


def _label(one: Set) -> str:
    made = ", made" if one.group == DERIVED else ""
    return f"{title(one)}{made}\n{one.clips} clip{'s' * (one.clips > 1)}, {one.words} words"


def _finish(figure: Any, rates: Any, differences: Any, systems: Sequence[str]) -> None:
    rates.set_xscale("log")
    rates.set_xlim(LOWEST, HIGHEST)
    ticks = [1, 2, 5, 10, 20, 50, 100, 200]
    rates.set_xticks(ticks, [f"{tick} %" for tick in ticks])
    rates.minorticks_off()
    rates.set_title("word error rate, 95 % interval", fontsize=10)
    differences.set_xlim(-1.05 * WIDEST, 1.05 * WIDEST)
    differences.axvline(0, color="#222222", lw=1)
    differences.set_title(f"points against {BASELINE}: left is better, right is worse", fontsize=10)
    for axes in (rates, differences):
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(axis="y", length=0, labelsize=8)
        axes.grid(axis="x", color="#dddddd", lw=0.6)
    marks = [
        pyplot.Line2D([], [], color=STYLES[name][0], marker=STYLES[name][1], label=name) for name in systems
    ]
    figure.legend(handles=marks, loc="lower center", ncols=len(systems), fontsize=9, frameon=False)
    figure.tight_layout(rect=(0, 0.04, 1, 1))
