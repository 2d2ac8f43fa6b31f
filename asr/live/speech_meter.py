"""Samples as they come → the speech probability of each 32 ms frame, never computed twice.

The network and its state are those of `asr.audio.vad`. Its gain follows the level too, but cannot look ahead:
it falls at once when the sound gets louder, so that an onset is not clipped, and rises slowly.
"""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from asr.audio.levels import (
    FRAME_SAMPLES,
    MAX_GAIN_DB,
    NEARBY_FRAMES,
    SMOOTHING_FRAMES,
    TARGET_DB,
    frame_levels,
)
from asr.audio.vad import CONTEXT_SAMPLES, Probs, first_state, heard
from asr.schema import Samples


class SpeechMeter:
    """One stream's detector. It holds less than a frame of audio."""

    def __init__(self) -> None:
        self._state = first_state()
        self._context = np.zeros(CONTEXT_SAMPLES, np.int16)
        self._rest = np.empty(0, np.int16)
        self._context_gain = np.float32(1.0)
        self._levels: deque[float] = deque(maxlen=2 * NEARBY_FRAMES + 1)  # dBFS of the latest frames
        self._gains_db: deque[float] = deque(maxlen=SMOOTHING_FRAMES)

    def hear(self, samples: Samples) -> Probs:
        """Speech probability of each frame that these samples complete, float32 [n]."""
        samples = np.concatenate((self._rest, samples)) if len(self._rest) else samples
        num_frames = len(samples) // FRAME_SAMPLES
        frames, self._rest = np.split(samples, [num_frames * FRAME_SAMPLES])
        self._rest = self._rest.copy()  # the chunk itself may go
        if not num_frames:
            return np.empty(0, np.float32)
        sound = np.concatenate((self._context, frames)).astype(np.float32) / np.float32(32768.0)
        gains = self._gains(frame_levels(frames))
        probs, self._state = heard(sound, gains, self._context_gain, self._state)
        self._context = frames[-CONTEXT_SAMPLES:].copy()
        self._context_gain = gains[-1]
        return probs

    def _gains(self, levels: NDArray[np.float32]) -> NDArray[np.float32]:
        gains = np.empty(len(levels), np.float32)
        for index, level in enumerate(levels.tolist()):
            self._levels.append(level)
            needed_db = min(max(TARGET_DB - max(self._levels), 0.0), MAX_GAIN_DB)
            self._gains_db.append(needed_db)
            smooth_db = sum(self._gains_db) / len(self._gains_db)
            gains[index] = 10.0 ** (min(needed_db, smooth_db) / 20.0)
        return gains
