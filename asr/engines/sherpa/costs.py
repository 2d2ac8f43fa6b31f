"""What sound costs, and how many windows a batch may have so that nobody waits long for its end."""

from __future__ import annotations

from collections.abc import Sequence

from asr.schema import Window

PAYS = 2.0  # windows alone in whose time a batch may always take
RISE = 1.05  # most that the cost grows with one batch: a busy moment does not count, a slower machine does


class SoundCosts:
    """Seconds per frame of a window. These models take as long as there is sound, whatever is said."""

    def __init__(self, max_batch_size: int, max_batch_s: float) -> None:
        self._max_batch_size = max_batch_size
        self._max_batch_s = max_batch_s
        self._per_frame: float | None = None

    def record(self, windows: Sequence[Window], seconds: float) -> None:
        """A batch took so long; open turns do not count, of which most was heard before."""
        if any(window.options.is_open for window in windows):
            return
        found = seconds / (len(windows) * max(window.num_frames for window in windows))
        known = self._per_frame
        self._per_frame = found if known is None else min(found, known * RISE)

    def most_together(self, frames: int) -> int:
        """Windows of `frames` frames that a batch may have; all while nothing is known."""
        if self._per_frame is None:
            return self._max_batch_size
        alone = self._per_frame * frames
        limit = max(self._max_batch_s, PAYS * alone)
        return max(1, min(self._max_batch_size, int(limit / alone) if alone else self._max_batch_size))
