"""Draws a run's losses and error rates over the hours of audio seen."""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot

LOSSES = {
    "text": "text",
    "guide": "attention",
    "naming": "token of each frame",
    "spelling": "letter of each frame",
}
RATES = {
    "en_short": "English, one sentence", "en_dense": "English, five sentences with timestamps",
    "hi_short": "Hindi, one sentence", "hi_dense": "Hindi, five sentences with timestamps",
}  # fmt: skip


def columns(path: Path) -> dict[str, list[tuple[float, float]]]:
    """Column name → (hours, value) of the rows that have one."""
    found: dict[str, list[tuple[float, float]]] = {}
    if path.exists():
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                for name, value in row.items():
                    if value:
                        found.setdefault(name, []).append((float(row["hours"]), float(value)))
    return found


def draw(run: Path, target: Path) -> None:
    """Writes the picture: losses above, held-out word error rates below."""
    figure, (upper, lower) = pyplot.subplots(2, 1, figsize=(8, 7), sharex=True, layout="constrained")
    panels = ((upper, run / "log.csv", LOSSES, 1.0), (lower, run / "scores.csv", RATES, 100.0))
    for axes, path, names, factor in panels:
        values = columns(path)
        for name, label in names.items():
            if name in values:
                hours, heights = zip(*values[name], strict=True)
                axes.plot(hours, [factor * height for height in heights], label=label)
        axes.grid(alpha=0.3)
        axes.legend()
    upper.set_ylabel("loss (nats)")
    lower.set_ylabel("word error rate (%)")
    lower.set_xlabel("hours of audio seen")
    lower.set_ylim(0, min(100, 1.2 * lower.dataLim.y1))
    figure.savefig(target, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, default=Path("training/runs/demo"))
    parser.add_argument("target", type=Path, nargs="?", default=Path("docs/training-curve.png"))
    given = parser.parse_args()
    draw(given.run, given.target)


if __name__ == "__main__":
    main()
