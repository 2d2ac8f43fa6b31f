"""The latest samples of a stream, known by their positions in it."""

from __future__ import annotations

import numpy as np

from asr.constants import SAMPLE_RATE
from asr.schema import Samples

LEAST_ROOM = 4 * SAMPLE_RATE  # samples; a buffer of less saves nothing


class SampleBuffer:
    """Samples `start` to `end` of a stream. What it has given out stays as it is: samples are appended
    behind it, or copied elsewhere."""

    def __init__(self) -> None:
        self.start = 0
        self.end = 0
        self._array: Samples = np.empty(LEAST_ROOM, np.int16)
        self._first = 0  # index of `start` in the array

    def append(self, samples: Samples) -> None:
        size = self.end - self.start
        if self._first + size + len(samples) > len(self._array):
            self._move(2 * (size + len(samples)))
        behind = self._first + size
        self._array[behind : behind + len(samples)] = samples
        self.end += len(samples)

    def between(self, start: int, end: int) -> Samples:
        """The samples of [start, end), not copied."""
        return self._array[self._first + start - self.start : self._first + end - self.start]

    def drop_before(self, position: int) -> None:
        """Forgets what lies before a position inside the buffer, or at its end."""
        self._first += position - self.start
        self.start = position
        if len(self._array) > 4 * max(self.end - self.start, LEAST_ROOM):
            self._move(2 * (self.end - self.start))

    def _move(self, room: int) -> None:
        array = np.empty(max(room, LEAST_ROOM), np.int16)
        array[: self.end - self.start] = self.between(self.start, self.end)
        self._array, self._first = array, 0
