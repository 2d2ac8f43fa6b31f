"""What the encoder made of the last windows: the next rung of the temperature ladder hears the same audio."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from asr.schema import Samples, Window

MOST = 8  # windows: 25 MB of float32 for base
SAMPLE_EVERY = 1_009  # samples that tell most windows apart at once

Key = tuple[object, ...]


class HeardAudio:
    """The encoder's output for the last few windows, by their audio alone."""

    def __init__(self) -> None:
        self._last: dict[Key, tuple[Samples, Tensor]] = {}

    def features(self, window: Window) -> Tensor | None:
        """[positions, state] of a window that was heard lately, else None."""
        samples, features = self._last.get(_key(window), (None, None))
        return features if samples is not None and np.array_equal(samples, window.samples) else None

    def keep(self, windows: Sequence[Window], features: Sequence[Tensor]) -> None:
        """Remember the last of these windows and, where there is room, of earlier ones."""
        for window, each in zip(windows, features, strict=True):
            self._last.pop(_key(window), None)
            self._last[_key(window)] = window.samples.copy(), each  # they may be a view of a whole file
        for key in list(self._last)[:-MOST]:
            del self._last[key]


def _key(window: Window) -> Key:
    lengths = (len(window.samples), window.num_frames, window.encoder_frames, window.left_context)
    return *lengths, window.log_mel_max, window.samples[::SAMPLE_EVERY].tobytes()
