"""The level of each moment of an utterance, and the gain with which the speech detector hears it.

Silero's network knows speech at ordinary levels: it misses speech at -70 dBFS, and the quieter one of two
speakers 35 dB apart. The gain follows the level nearby and never lowers it. It is for the detector alone: the
model hears the samples as they are.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from asr.schema import Samples

TARGET_DB = -26.0  # dBFS; the loudest frame nearby is raised to it
MAX_GAIN_DB = 60.0  # the last bit of 16 stays below speech
NEARBY_FRAMES = 12  # 0.4 s on each side: shorter than a turn, longer than a stop consonant's silence
SMOOTHING_FRAMES = 8  # 0.26 s: a jump of the gain would itself sound like an onset
SILENCE_DB = -180.0  # of frames of zeros
FRAME_SAMPLES = 512  # 32 ms, one frame of the detector

STEADY_DB = 3.0  # between quiet and loud frames of noise, hum and silence; speech and song vary by more
STEADY_SHARE = 5  # percent of the frames that may be louder, or quieter
BLOCK_FRAMES = 4_096  # 131 s: bounds the float copy however long the audio is


def frame_levels(samples: Samples) -> NDArray[np.float32]:
    """Level of every frame, float32 [ceil(n / 512)] in dBFS; the last frame is padded with silence."""
    num_frames = -(-len(samples) // FRAME_SAMPLES)
    levels = np.empty(num_frames, np.float32)
    for first in range(0, num_frames, BLOCK_FRAMES):
        last = min(first + BLOCK_FRAMES, num_frames)
        block = np.zeros((last - first) * FRAME_SAMPLES, np.float32)
        inside = samples[first * FRAME_SAMPLES : last * FRAME_SAMPLES]
        block[: len(inside)] = inside
        block /= 32768.0
        power = np.square(block.reshape(-1, FRAME_SAMPLES)).mean(1)
        levels[first:last] = 10.0 * np.log10(np.maximum(power, 10.0 ** (SILENCE_DB / 10.0)))
    return levels


def local_gains(samples: Samples) -> NDArray[np.float32]:
    """Factor of every frame, float32 [ceil(n / 512)], 1 or more."""
    levels = frame_levels(samples)
    if not len(levels):
        return levels
    nearby = np.pad(levels, NEARBY_FRAMES, mode="edge")
    loudest = np.lib.stride_tricks.sliding_window_view(nearby, 2 * NEARBY_FRAMES + 1).max(1)
    gains = np.clip(TARGET_DB - loudest, 0.0, MAX_GAIN_DB)
    before = SMOOTHING_FRAMES // 2
    padded = np.pad(gains, (before, SMOOTHING_FRAMES - 1 - before), mode="edge")
    smooth = np.lib.stride_tricks.sliding_window_view(padded, SMOOTHING_FRAMES).mean(1)
    factors: NDArray[np.float32] = (10.0 ** (smooth / 20.0)).astype(np.float32)
    return factors


def is_steady(samples: Samples) -> bool:
    """Whether the level hardly changes, as in silence, hiss, hum or a tone: nobody speaks."""
    levels = frame_levels(samples)
    if not len(levels):
        return True
    low, high = np.percentile(levels, (STEADY_SHARE, 100 - STEADY_SHARE))
    return bool(high - low < STEADY_DB)
