"""The picture as SVG. Texts are texts; the title of a segment has the whole text where it is shortened."""

from __future__ import annotations

import base64
import re
from xml.sax.saxutils import escape

import numpy as np

from gateway.visualize import palette, png
from gateway.visualize.layout import (
    FONT_SIZE,
    LANE_HEIGHT,
    LANE_TOP,
    LINE_HEIGHT,
    MARGIN,
    MEL_HEIGHT,
    MEL_TOP,
    PADDING,
    PICTURE_HEIGHT,
    WAVE_HEIGHT,
    Block,
    Picture,
)

FONTS = "system-ui, 'Noto Sans', 'Noto Sans Devanagari', 'Nirmala UI', Mangal, sans-serif"
NOT_XML = re.compile("[\ufffe\uffff]")  # the layout has dropped the control characters


def svg(picture: Picture) -> bytes:
    """The picture's document."""
    width = picture.width + 2 * MARGIN
    height = PICTURE_HEIGHT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" font-family="{FONTS}" font-size="{FONT_SIZE}">',
        f'<rect width="{width}" height="{height}" fill="{palette.PAPER}"/>',
        f'<g transform="translate({MARGIN} 0)">',
        *(_block(block, number) for number, block in enumerate(picture.blocks)),
        f'<path d="{_wave_path(picture)}" fill="{palette.WAVE}"/>',
        _log_mel_image(picture),
        *_axis(picture),
        "</g></svg>\n",
    ]
    return "\n".join(parts).encode()


def _block(block: Block, number: int) -> str:
    """The segment's ground, behind the waveform, and its text."""
    width = block.right - block.left
    spans = "".join(
        f'<tspan x="{block.left + PADDING}" dy="{LINE_HEIGHT}">{_escaped(line)}</tspan>'
        for line in block.lines
    )
    return (
        f"<g><title>{number + 1}: {_escaped(block.text)}</title>"
        f'<rect x="{block.left}" y="{MARGIN}" width="{width}" height="{LANE_TOP + LANE_HEIGHT - MARGIN}" '
        f'fill="{palette.BLOCKS[number % 2]}"/>'
        f'<text y="{LANE_TOP}" fill="{palette.INK}">{spans}</text></g>'
    )


def _escaped(text: str) -> str:
    return escape(NOT_XML.sub("", text))


def _wave_path(picture: Picture) -> str:
    """Along the upper edge and back along the lower one; at least one pixel high."""
    half = WAVE_HEIGHT / 2
    middle = MARGIN + half
    upper = middle - np.maximum(picture.high * half, 0.5)
    lower = middle - np.minimum(picture.low * half, -0.5)
    there = [f"{x} {y:.1f}" for x, y in enumerate(upper)]
    back = [f"{x} {y:.1f}" for x, y in reversed(list(enumerate(lower)))]
    return f"M{'L'.join(there + back)}Z"


def _log_mel_image(picture: Picture) -> str:
    image = png.encoded(png.colored(palette.scale_indexes(picture.log_mel[::-1])))
    return (
        f'<image x="0" y="{MEL_TOP}" width="{picture.width}" height="{MEL_HEIGHT}" '
        f'preserveAspectRatio="none" href="data:image/png;base64,{base64.b64encode(image).decode()}"/>'
    )


def _axis(picture: Picture) -> list[str]:
    top = MEL_TOP + MEL_HEIGHT
    return [
        f'<path d="M{tick.column} {top + 2}v6" stroke="{palette.SOFT}"/>'
        f'<text x="{tick.column}" y="{top + 22}" fill="{palette.SOFT}" text-anchor="middle">'
        f"{tick.label}</text>"
        for tick in picture.ticks
    ]
