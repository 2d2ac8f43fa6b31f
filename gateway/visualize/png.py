"""The picture as an indexed PNG."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from gateway.visualize import palette
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
    Picture,
)

NOT_A_CHARACTER = "\uffff"  # drawn as the box that stands for every missing character

Canvas = NDArray[np.uint8]  # [height, width], rows of the palette's table


def png(picture: Picture) -> bytes:
    """The picture's file."""
    canvas = np.full(
        (PICTURE_HEIGHT, picture.width + 2 * MARGIN), palette.index(palette.PAPER), dtype=np.uint8
    )
    _draw_blocks(canvas, picture)
    _draw_wave(canvas, picture)
    _draw_log_mel(canvas, picture)
    image = colored(canvas)
    _write_texts(image, picture)
    return encoded(image)


def colored(canvas: Canvas) -> Image.Image:
    """The canvas in the palette's colours."""
    image = Image.fromarray(canvas)
    image.putpalette(palette.table().tobytes())
    return image


def encoded(image: Image.Image) -> bytes:
    """The image as a PNG file."""
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def _draw_blocks(canvas: Canvas, picture: Picture) -> None:
    """The ground of each segment, behind the waveform and its text."""
    for number, block in enumerate(picture.blocks):
        color = palette.index(palette.BLOCKS[number % 2])
        canvas[MARGIN : LANE_TOP + LANE_HEIGHT, MARGIN + block.left : MARGIN + block.right] = color


def _draw_wave(canvas: Canvas, picture: Picture) -> None:
    half = WAVE_HEIGHT // 2
    first = half - np.round(picture.high * (half - 1)).astype(int)
    last = half - np.round(picture.low * (half - 1)).astype(int)
    rows = np.arange(WAVE_HEIGHT)[:, None]
    area = canvas[MARGIN : MARGIN + WAVE_HEIGHT, MARGIN : MARGIN + picture.width]
    area[(first <= rows) & (rows <= last)] = palette.index(palette.WAVE)


def _draw_log_mel(canvas: Canvas, picture: Picture) -> None:
    n_mels, columns = picture.log_mel.shape
    mels = n_mels - 1 - np.arange(MEL_HEIGHT) * n_mels // MEL_HEIGHT  # high frequencies on top
    places = np.arange(picture.width) * columns // picture.width
    image = palette.scale_indexes(picture.log_mel)[mels[:, None], places]
    canvas[MEL_TOP : MEL_TOP + MEL_HEIGHT, MARGIN : MARGIN + picture.width] = image


def _write_texts(image: Image.Image, picture: Picture) -> None:
    """Writes each segment's text, or its number if the font lacks a letter or there is no room for a line."""
    font = ImageFont.load_default(FONT_SIZE)
    assert isinstance(font, ImageFont.FreeTypeFont)
    draw = ImageDraw.Draw(image)
    ink, soft = palette.index(palette.INK), palette.index(palette.SOFT)
    missing = _without_glyph({letter for block in picture.blocks for letter in block.text}, font)
    for number, block in enumerate(picture.blocks):
        has_letters = missing.isdisjoint(block.text)
        lines = block.lines if has_letters and block.lines else (str(number + 1),)
        room = block.right - block.left - PADDING
        for row, line in enumerate(lines):
            place = (MARGIN + block.left + PADDING, LANE_TOP + PADDING + row * LINE_HEIGHT)
            draw.text(place, _cut(line, room, font), fill=ink, font=font)
    top = MEL_TOP + MEL_HEIGHT
    for tick in picture.ticks:
        column = MARGIN + min(tick.column, picture.width - 1)
        draw.line((column, top + 2, column, top + 8), fill=soft)
        draw.text((column, top + 12), tick.label, fill=soft, font=font, anchor="ma")


def _cut(line: str, room: int, font: ImageFont.FreeTypeFont) -> str:
    while line and font.getlength(line) > room:
        line = line[:-1]
    return line


def _without_glyph(letters: set[str], font: ImageFont.FreeTypeFont) -> set[str]:
    """The letters that the font lacks."""
    box = bytes(font.getmask(NOT_A_CHARACTER))
    return {letter for letter in letters if bytes(font.getmask(letter)) == box}
