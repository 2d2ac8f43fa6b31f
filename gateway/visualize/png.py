"""The picture as an indexed PNG, drawn with NumPy alone: figures, but no letters."""

from __future__ import annotations

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

from gateway.visualize import palette
from gateway.visualize.layout import AXIS_HEIGHT, GAP, MARGIN, MEL_HEIGHT, WAVE_HEIGHT, Picture

LANE_HEIGHT = 22
GLYPH_SCALE = 2
GLYPHS = {  # 3 by 5 points: an octal digit for each row, from the top
    "0": "75557",
    "1": "26227",
    "2": "71747",
    "3": "71717",
    "4": "55711",
    "5": "74717",
    "6": "74757",
    "7": "71222",
    "8": "75757",
    "9": "75717",
    ":": "02020",
}
GLYPH_WIDTH = 4 * GLYPH_SCALE  # with the space behind it
GLYPH_HEIGHT = 5 * GLYPH_SCALE

Canvas = NDArray[np.uint8]  # [height, width], rows of the palette's table


def png(picture: Picture) -> bytes:
    """The picture's file."""
    height = 2 * MARGIN + WAVE_HEIGHT + LANE_HEIGHT + MEL_HEIGHT + AXIS_HEIGHT + 2 * GAP
    canvas = np.full((height, picture.width + 2 * MARGIN), palette.index(palette.PAPER), np.uint8)
    top = MARGIN
    _draw_wave(canvas, picture, top)
    top += WAVE_HEIGHT + GAP
    _draw_blocks(canvas, picture, top)
    top += LANE_HEIGHT + GAP
    _draw_log_mel(canvas, picture, top)
    _draw_axis(canvas, picture, top + MEL_HEIGHT)
    return encoded(canvas)


def encoded(canvas: Canvas) -> bytes:
    """A PNG file of the palette's colours (RFC 2083)."""
    height, width = canvas.shape
    rows = np.zeros((height, width + 1), np.uint8)  # each row begins with its filter, 0: none
    rows[:, 1:] = canvas
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),
        (b"PLTE", palette.table().tobytes()),
        (b"IDAT", zlib.compress(rows.tobytes(), 6)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )


def _draw_wave(canvas: Canvas, picture: Picture, top: int) -> None:
    for number, block in enumerate(picture.blocks):
        color = palette.BLOCKS[number % 2]
        canvas[top : top + WAVE_HEIGHT, MARGIN + block.left : MARGIN + block.right] = palette.index(color)
    half = WAVE_HEIGHT // 2
    first = half - np.round(picture.high * (half - 1)).astype(int)
    last = half - np.round(picture.low * (half - 1)).astype(int)
    rows = np.arange(WAVE_HEIGHT)[:, None]
    area = canvas[top : top + WAVE_HEIGHT, MARGIN : MARGIN + picture.width]
    area[(first <= rows) & (rows <= last)] = palette.index(palette.WAVE)


def _draw_blocks(canvas: Canvas, picture: Picture, top: int) -> None:
    for number, block in enumerate(picture.blocks):
        left, right = MARGIN + block.left, MARGIN + block.right
        canvas[top : top + LANE_HEIGHT, left:right] = palette.index(palette.BLOCKS[number % 2])
        canvas[top : top + LANE_HEIGHT, left] = palette.index(palette.WAVE)
        label = str(number + 1)
        if right - left > len(label) * GLYPH_WIDTH + 6:
            _write(canvas, label, left + 6, top + (LANE_HEIGHT - GLYPH_HEIGHT) // 2)


def _draw_log_mel(canvas: Canvas, picture: Picture, top: int) -> None:
    n_mels, columns = picture.log_mel.shape
    mels = n_mels - 1 - np.arange(MEL_HEIGHT) * n_mels // MEL_HEIGHT  # high frequencies on top
    places = np.arange(picture.width) * columns // picture.width
    image = palette.scale_indexes(picture.log_mel)[mels[:, None], places]
    canvas[top : top + MEL_HEIGHT, MARGIN : MARGIN + picture.width] = image


def _draw_axis(canvas: Canvas, picture: Picture, top: int) -> None:
    for tick in picture.ticks:
        column = MARGIN + min(tick.column, picture.width - 1)
        canvas[top + 2 : top + 8, column] = palette.index(palette.SOFT)
        _write(canvas, tick.label, column - len(tick.label) * GLYPH_WIDTH // 2, top + 13)


def _write(canvas: Canvas, text: str, left: int, top: int) -> None:
    """Digits and colons; what would lie outside the canvas is left out."""
    for glyph in text:
        bits = np.array([[int(row) >> shift & 1 for shift in (2, 1, 0)] for row in GLYPHS[glyph]], bool)
        mask = np.kron(bits, np.ones((GLYPH_SCALE, GLYPH_SCALE), bool))
        if left >= 0 and left + mask.shape[1] <= canvas.shape[1]:
            area = canvas[top : top + mask.shape[0], left : left + mask.shape[1]]
            area[mask] = palette.index(palette.INK)
        left += GLYPH_WIDTH
