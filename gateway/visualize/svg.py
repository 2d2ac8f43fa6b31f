"""The picture as SVG, its text as text: what is too long for its place is in the segment's title."""

from __future__ import annotations

import base64
import re
import textwrap
from xml.sax.saxutils import escape

import numpy as np

from gateway.visualize import palette, png
from gateway.visualize.layout import AXIS_HEIGHT, GAP, MARGIN, MEL_HEIGHT, WAVE_HEIGHT, Block, Picture

FONTS = "system-ui, 'Noto Sans', 'Noto Sans Devanagari', 'Nirmala UI', Mangal, sans-serif"
FONT_SIZE = 12
LINE_HEIGHT = 16
MAX_LINES = 4
CHAR_WIDTH = 6.6  # about; the title has the text in full
PADDING = 6
NOT_XML = re.compile("[\ufffe\uffff]")  # beside the control characters, which the layout has dropped
LANE_HEIGHT = MAX_LINES * LINE_HEIGHT + 2 * PADDING


def svg(picture: Picture) -> bytes:
    """The picture's document."""
    width = picture.width + 2 * MARGIN
    height = 2 * MARGIN + WAVE_HEIGHT + LANE_HEIGHT + MEL_HEIGHT + AXIS_HEIGHT + 2 * GAP
    lane_top = MARGIN + WAVE_HEIGHT + GAP
    mel_top = lane_top + LANE_HEIGHT + GAP
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" font-family="{FONTS}" font-size="{FONT_SIZE}">',
        f'<rect width="{width}" height="{height}" fill="{palette.PAPER}"/>',
        f'<g transform="translate({MARGIN} 0)">',
        *(_block(block, number, lane_top) for number, block in enumerate(picture.blocks)),
        f'<path d="{_wave_path(picture)}" fill="{palette.WAVE}"/>',
        _log_mel_image(picture, mel_top),
        *_axis(picture, mel_top + MEL_HEIGHT),
        "</g></svg>\n",
    ]
    return "\n".join(parts).encode()


def _block(block: Block, number: int, lane_top: int) -> str:
    """The segment's ground behind the waveform, and its text below."""
    width = block.right - block.left
    lines = _wrapped(block.text, width - 2 * PADDING)
    spans = "".join(
        f'<tspan x="{block.left + PADDING}" dy="{LINE_HEIGHT}">{_escaped(line)}</tspan>' for line in lines
    )
    return (
        f"<g><title>{number + 1}: {_escaped(block.text)}</title>"
        f'<rect x="{block.left}" y="{MARGIN}" width="{width}" height="{WAVE_HEIGHT + GAP + LANE_HEIGHT}" '
        f'fill="{palette.BLOCKS[number % 2]}"/>'
        f'<text y="{lane_top}" fill="{palette.INK}">{spans}</text></g>'
    )


def _wrapped(text: str, width: float) -> list[str]:
    num_chars = int(width / CHAR_WIDTH)
    if num_chars < 3:
        return []
    return textwrap.wrap(text, num_chars, max_lines=MAX_LINES, placeholder="…")


def _escaped(text: str) -> str:
    return escape(NOT_XML.sub("", text))


def _wave_path(picture: Picture) -> str:
    """There along the upper edge, back along the lower one; at least one pixel high."""
    half = WAVE_HEIGHT / 2
    middle = MARGIN + half
    upper = middle - np.maximum(picture.high * half, 0.5)
    lower = middle - np.minimum(picture.low * half, -0.5)
    there = [f"{x} {y:.1f}" for x, y in enumerate(upper)]
    back = [f"{x} {y:.1f}" for x, y in reversed(list(enumerate(lower)))]
    return f"M{'L'.join(there + back)}Z"


def _log_mel_image(picture: Picture, top: int) -> str:
    image = png.encoded(palette.scale_indexes(picture.log_mel[::-1]))
    return (
        f'<image x="0" y="{top}" width="{picture.width}" height="{MEL_HEIGHT}" preserveAspectRatio="none" '
        f'href="data:image/png;base64,{base64.b64encode(image).decode()}"/>'
    )


def _axis(picture: Picture, top: int) -> list[str]:
    return [
        f'<path d="M{tick.column} {top + 2}v6" stroke="{palette.SOFT}"/>'
        f'<text x="{tick.column}" y="{top + 22}" fill="{palette.SOFT}" text-anchor="middle">'
        f"{tick.label}</text>"
        for tick in picture.ticks
    ]
