"""The picture's colours: a few with names, and a scale for the spectrogram. All fit one indexed PNG."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

PAPER = "#ffffff"
INK = "#1d2321"
SOFT = "#5d6763"
LINE = "#dedcd6"
WAVE = "#0b7a6d"
BLOCKS = ("#d3e8e4", "#e4e9d6")  # in turns
NAMED = (PAPER, INK, SOFT, LINE, WAVE, *BLOCKS)

SCALE_SIZE = 200
# dark to light, at equal steps
SCALE_STOPS = ("#0a1420", "#123a4c", "#0f6a6c", "#3fa37f", "#b6cf7a", "#fdf6c8")


def rgb(color: str) -> tuple[int, int, int]:
    return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)


def table() -> NDArray[np.uint8]:
    """uint8 [colours, 3]: the scale, then the named ones."""
    stops = np.array([rgb(color) for color in SCALE_STOPS], dtype=np.float64)
    at = np.linspace(0, len(stops) - 1, SCALE_SIZE)
    scale = np.stack(
        [np.interp(at, np.arange(len(stops)), stops[:, channel]) for channel in range(3)], axis=1
    )
    return np.concatenate([scale.round(), [rgb(color) for color in NAMED]]).astype(np.uint8)


def scale_indexes(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The table's rows for values in 0..1."""
    return (values * (SCALE_SIZE - 1)).round().astype(np.uint8)


def index(color: str) -> int:
    """The table's row of a named colour."""
    return SCALE_SIZE + NAMED.index(color)
