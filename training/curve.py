"""Draws a run's losses over the hours of audio seen."""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")
from matplotlib import pyplot

LOSSES = {
    "text": "text",
    "guide": "attention",
    "naming": "token of each frame",
    "spelling": "letter of each frame",
}


def draw(run: Path, target: Path) -> None:
    """Writes the picture."""
    rows = np.genfromtxt(run / "log.csv", delimiter=",", names=True)
    figure, axes = pyplot.subplots(figsize=(8, 4), layout="constrained")
    for name, label in LOSSES.items():
        axes.plot(rows["hours"], rows[name], label=label)
    axes.set(xlabel="hours of audio seen", ylabel="loss (nats)")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(target, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, default=Path("training/runs/demo"))
    parser.add_argument("target", type=Path, nargs="?", default=Path("docs/training-curve.png"))
    given = parser.parse_args()
    draw(given.run, given.target)


if __name__ == "__main__":
    main()
