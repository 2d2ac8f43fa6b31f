"""The layout of the picture, in pixels: waveform, lane of texts, log-Mel spectrogram, axis of time."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from asr.constants import SAMPLE_RATE
from asr.render.formats import clean
from asr.schema import Samples, Transcript
from gateway.visualize.log_mel import log_mel_image

PIXELS_PER_SECOND = 64
MIN_WIDTH, MAX_WIDTH = 960, 6_000  # of the plot; longer recordings have fewer pixels per second
MARGIN = 24
WAVE_HEIGHT = 120
MEL_HEIGHT = 160
AXIS_HEIGHT = 28
GAP = 10
FONT_SIZE = 12
LINE_HEIGHT = 16
CHAR_WIDTH = 6.6  # average
MAX_LINES = 4  # of a segment's text
PADDING = 6
LANE_HEIGHT = MAX_LINES * LINE_HEIGHT + 2 * PADDING
LANE_TOP = MARGIN + WAVE_HEIGHT + GAP
MEL_TOP = LANE_TOP + LANE_HEIGHT + GAP
PICTURE_HEIGHT = MEL_TOP + MEL_HEIGHT + AXIS_HEIGHT + MARGIN
MIN_TICK_SPACING = 70
TICK_STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200)
MIN_LOUDEST = 32  # int16: silence stays a line


@dataclass(frozen=True, slots=True)
class Block:
    """A segment between two columns of the plot."""

    left: int
    right: int  # at least one beyond `left`
    text: str
    lines: tuple[str, ...]  # the text as it fits between the columns, shortened; empty if none fits


@dataclass(frozen=True, slots=True)
class Tick:
    column: int
    label: str


@dataclass(frozen=True, slots=True)
class Picture:
    """The plot's contents; columns count from its left edge."""

    width: int  # columns of the plot
    low: NDArray[np.float32]  # [width], -1..1: the waveform's lowest and highest value in each column
    high: NDArray[np.float32]
    log_mel: NDArray[np.float32]  # [n_mels, at most width], 0..1
    blocks: tuple[Block, ...]
    ticks: tuple[Tick, ...]


def picture_of(samples: Samples, transcript: Transcript, n_mels: int = 80) -> Picture:
    """The picture of a recording; samples: int16 [n], n ≥ 1."""
    seconds = len(samples) / SAMPLE_RATE
    width = round(min(max(seconds * PIXELS_PER_SECOND, MIN_WIDTH), MAX_WIDTH))
    low, high = _envelope(samples, width)
    return Picture(
        width,
        low,
        high,
        log_mel_image(samples, n_mels, width),
        tuple(_blocks(transcript, len(samples), width)),
        tuple(_ticks(seconds, width)),
    )


def _envelope(samples: Samples, width: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Lowest and highest sample of each column, scaled so that the loudest sample is 1 or -1."""
    edges = np.minimum(np.arange(width) * len(samples) // width, len(samples) - 1)
    low = np.minimum(np.minimum.reduceat(samples, edges), 0)
    high = np.maximum(np.maximum.reduceat(samples, edges), 0)
    loudest = max(-int(low.min()), int(high.max()), MIN_LOUDEST)
    return (low / loudest).astype(np.float32), (high / loudest).astype(np.float32)


def _blocks(transcript: Transcript, num_samples: int, width: int) -> list[Block]:
    blocks = []
    for segment in transcript.segments:
        left = min(segment.start * width // num_samples, width - 1)
        right = min(max(segment.end * width // num_samples, left + 1), width)
        if text := " ".join(clean(segment.text).split()):
            blocks.append(Block(left, right, text, _wrapped(text, right - left - 2 * PADDING)))
    return blocks


def _wrapped(text: str, width: int) -> tuple[str, ...]:
    num_chars = int(width / CHAR_WIDTH)
    if num_chars < 3:
        return ()
    return tuple(textwrap.wrap(text, num_chars, max_lines=MAX_LINES, placeholder="…"))


def _ticks(seconds: float, width: int) -> list[Tick]:
    spaced = (step for step in TICK_STEPS_S if step / seconds * width >= MIN_TICK_SPACING)
    step = next(spaced, TICK_STEPS_S[-1])
    return [Tick(round(at / seconds * width), _clock(at)) for at in range(0, int(seconds) + 1, step)]


def _clock(seconds: int) -> str:
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
