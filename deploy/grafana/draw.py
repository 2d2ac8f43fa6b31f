#!/usr/bin/env python3
"""Draws the dashboard from a Prometheus, as Grafana would lay it out, into a PNG.

  python -m deploy.grafana.draw --prometheus http://127.0.0.1:9090 --minutes 15 --out docs/dashboard.png

Needs matplotlib (requirements-dev.txt).
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from deploy.grafana.queries import DASHBOARD, RATE_INTERVAL, Panel, Prometheus, Series, read_panels

POINTS = 240  # of a line
COLUMNS = 24
INCHES_PER_COLUMN, INCHES_PER_ROW = 0.75, 0.36
LEGEND_ROOM = 1.3  # height of the axes over that of the highest value
COLORS = ("#4477aa", "#cc6633", "#228833", "#aa3377", "#ccaa33", "#66ccee", "#999999", "#773311")


@dataclass(frozen=True)
class Span:
    """The time that is drawn, and the interval of its rates."""

    start: float
    end: float
    rate_interval: str

    def ask(self, prometheus: Prometheus, expression: str) -> list[Series]:
        step = (self.end - self.start) / POINTS
        expression = expression.replace(RATE_INTERVAL, self.rate_interval)
        return [one for one in prometheus.between(expression, self.start, self.end, step) if one.has_data]


def draw(prometheus: Prometheus, span: Span, dashboard: Path, out: Path) -> None:
    """Writes the picture."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    panels = list(read_panels(dashboard))
    rows = max(panel.y + panel.height for panel in panels)
    size = COLUMNS * INCHES_PER_COLUMN, rows * INCHES_PER_ROW
    figure = pyplot.figure(figsize=size)
    for panel in panels:
        if panel.kind == "row":
            top = 1 - (panel.y + 0.8) / rows
            figure.text(0.01, top, panel.title, fontsize=12, fontweight="bold")
            continue
        axes = figure.add_axes(_frame(panel, rows))
        axes.set_title(panel.title, fontsize=9, loc="left")
        found = [
            (legend, one) for expression, legend in panel.targets for one in span.ask(prometheus, expression)
        ]
        (_number if panel.kind == "stat" else _lines)(axes, panel, found)
        if panel.kind != "stat":
            axes.set_xlim(span.start, span.end)
    figure.savefig(out, dpi=100)
    pyplot.close(figure)


def _frame(panel: Panel, rows: int) -> tuple[float, float, float, float]:
    """Left, bottom, width and height of a panel's axes, as shares of the figure; with room for text."""
    left, right, above, below = 1.0, 0.35, 1.1, 1.1
    if panel.kind == "stat":
        left, right, below = 0.25, 0.1, 0.2
    return (
        (panel.x + left) / COLUMNS,
        1 - (panel.y + panel.height - below) / rows,
        (panel.width - left - right) / COLUMNS,
        (panel.height - above - below) / rows,
    )


def _number(axes: Any, panel: Panel, found: list[tuple[str, Series]]) -> None:
    axes.set(xticks=[], yticks=[])
    text = in_unit(found[0][1].values[-1], panel.unit) if found else "no data"
    axes.text(0.5, 0.5, text, fontsize=20, ha="center", va="center", color="#228833")


def _lines(axes: Any, panel: Panel, found: list[tuple[str, Series]]) -> None:
    axes.tick_params(labelsize=7)
    axes.grid(color="#dddddd", linewidth=0.5)
    axes.yaxis.set_major_formatter(lambda value, _: in_unit(value, panel.unit))
    axes.xaxis.set_major_formatter(lambda value, _: datetime.fromtimestamp(value, UTC).strftime("%H:%M"))
    axes.xaxis.set_major_locator(_ticker().MaxNLocator(5))
    if not found:
        axes.set(xticks=[], yticks=[])
        axes.text(0.5, 0.5, "no data", ha="center", transform=axes.transAxes, color="#999999")
        return
    names = [legend_of(legend, one.labels) for legend, one in found]
    colors = [COLORS[i % len(COLORS)] for i in range(len(found))]
    if panel.stacked:
        times = sorted({moment for _, one in found for moment in one.times})
        at = [dict(zip(one.times, one.values, strict=True)) for _, one in found]
        axes.stackplot(
            times, *[[line.get(moment, 0.0) for moment in times] for line in at], labels=names, colors=colors
        )
    else:
        for (_, one), name, color in zip(found, names, colors, strict=True):
            axes.plot(one.times, one.values, label=name, color=color, linewidth=1)
    highest = axes.dataLim.y1
    axes.set_ylim(0, highest * LEGEND_ROOM if highest > 0 else 1)
    axes.legend(fontsize=6.5, loc="upper left", ncols=4, framealpha=0.6)


def _ticker() -> Any:
    from matplotlib import ticker

    return ticker


def legend_of(legend: str, labels: dict[str, str]) -> str:
    """Grafana's `{{label}}` filled in; the labels themselves where there is no legend."""
    if not legend:
        return ", ".join(f"{key}={value}" for key, value in labels.items() if key != "__name__")
    return re.sub(r"\{\{\s*(\w+)\s*\}\}", lambda match: labels.get(match[1], ""), legend)


def in_unit(value: float, unit: str) -> str:
    """The value as Grafana would write it in this unit of its own."""
    if unit == "percentunit":
        return f"{value * 100:.3g} %"
    if unit == "bytes":
        for prefix in ("", "Ki", "Mi"):
            if abs(value) < 1024:
                return f"{value:.3g} {prefix}B"
            value /= 1024
        return f"{value:.3g} GiB"
    if unit == "s":
        return f"{value * 1000:.3g} ms" if 0 < abs(value) < 1 else f"{value:.3g} s"
    return f"{value:.3g}" + {"reqps": "/s"}.get(unit, "")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--prometheus", default="http://127.0.0.1:9090", help="its address")
    parser.add_argument("--minutes", type=float, default=60.0, help="how far back")
    parser.add_argument("--rate-interval", default="1m", help="at least four scrapes")
    parser.add_argument("--dashboard", type=Path, default=DASHBOARD)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    end = time.time()
    span = Span(end - 60 * given.minutes, end, given.rate_interval)
    try:
        draw(Prometheus(given.prometheus), span, given.dashboard, given.out)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(given.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
