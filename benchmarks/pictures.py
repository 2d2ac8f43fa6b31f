"""Charts for docs/performance.md."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot

SHADES = ("#9ecae1", "#6baed6", "#3182bd", "#08519c", "#d95f0e", "#756bb1")


def bars(groups: Mapping[str, Mapping[str, float]], title: str, path: Path, unit: str = "") -> None:
    """Horizontal bars, one group per row label, one bar per series, each with its number; writes a PNG."""
    series = list(dict.fromkeys(name for group in groups.values() for name in group))
    colours = dict(zip(series, SHADES, strict=False))
    figure, axes = pyplot.subplots(
        figsize=(9, 1.2 + 0.24 * sum(map(len, groups.values())) + 0.2 * len(groups))
    )
    place, ticks = 0.0, []
    for label, group in groups.items():
        first = place
        for name, value in group.items():
            axes.barh(place, value, 0.9, color=colours[name])
            axes.text(value, place, f" {value:.3g}{unit}", va="center", fontsize=8)
            place += 1
        ticks.append(((first + place - 1) / 2, label))
        place += 0.8
    axes.set_yticks([position for position, _ in ticks], [label for _, label in ticks])
    axes.invert_yaxis()
    axes.set_title(title, fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend([pyplot.Rectangle((0, 0), 1, 1, color=colours[name]) for name in series], series, fontsize=8)
    path.parent.mkdir(exist_ok=True)
    figure.tight_layout()
    figure.savefig(path, dpi=110, metadata={"Software": None})
    pyplot.close(figure)
