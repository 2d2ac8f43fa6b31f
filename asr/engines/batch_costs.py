"""What a batch costs on this machine, measured, and how many windows one should have.

A batch on a GPU takes as long with many windows as with few. On a CPU it grows with each of them, and whoever
comes meanwhile waits for its end. Four windows bring most of what batching can bring, because they share the
reading of the decoder's weights (base, two cores, 30 s windows with 80 tokens: 3.4 processor seconds a window
alone, 1.9 in fours, 1.7 in eights); more of them only make others wait.
"""

from __future__ import annotations

from collections.abc import Sequence

from asr.engines.decoding.plan import search_key
from asr.schema import DecodingOptions, Hypothesis, Window

TOKENS_PER_FRAME = 0.025  # of speech: 75 in 30 s
# a batch may always take as long as this many windows that are decoded alone: four windows fit into it
PAYS = 3.0
FEW = 0.2  # of a full window's tokens; the time of fewer says nothing of many
RISE = 1.05  # most that a cost grows with one batch: a busy moment does not count, a slower machine does


class BatchCosts:
    """Seconds per window by length and batch size; sizes are kept in powers of two."""

    def __init__(self, max_batch_size: int, max_batch_s: float | None) -> None:
        """max_batch_s: seconds that a batch may take; None: a batch may always have `max_batch_size`."""
        self.max_batch_s = max_batch_s
        self._max_batch_size = max_batch_size
        self._seconds: dict[int, dict[int, float]] = {}  # encoder frames → bits of the size → per window

    def record(self, windows: Sequence[Window], hypotheses: Sequence[Hypothesis], seconds: float) -> None:
        """A batch of windows of one length took so long; other searches than the usual do not count.

        A window with little speech has few steps: the decoder's time is counted as of a full one.
        """
        steps = max(len(each.tokens) for each in hypotheses)
        full = windows[0].encoder_frames * TOKENS_PER_FRAME
        was_heard = not hypotheses[0].seconds.features  # a moment ago: the encoder had nothing to do
        if was_heard or steps < FEW * full or not all(_is_usual(window.options) for window in windows):
            return
        frames = windows[0].encoder_frames
        decoding = hypotheses[0].seconds.decode
        found = seconds / len(windows) + decoding * (full / steps - 1)
        size = len(windows).bit_length()
        sizes = self._seconds.setdefault(frames, {})
        sizes[size] = min(found, sizes.get(size, found) * RISE)

    def forget(self) -> None:
        self._seconds.clear()

    def most_together(self, frames: int) -> int:
        """Windows of `frames` encoder frames that a batch may have; all while nothing is known."""
        alone = self._per_window(frames, 1)
        if self.max_batch_s is None or alone is None:
            return self._max_batch_size
        limit = max(self.max_batch_s, PAYS * alone)
        sizes = range(self._max_batch_size, 1, -1)
        return next((size for size in sizes if size * (self._per_window(frames, size) or 0) <= limit), 1)

    def _per_window(self, frames: int, size: int) -> float | None:
        """Seconds of a window in a batch of this size, by the nearest length that is known.

        At most what one costs in a smaller batch: a size first decoded in a busy moment is decoded again.
        """
        if not self._seconds:
            return None
        nearest = min(self._seconds, key=lambda known: abs(known - frames))
        sizes = self._seconds[nearest]
        smaller = [seconds for bits, seconds in sizes.items() if bits <= size.bit_length()]
        return min(smaller, default=sizes[min(sizes)]) * frames / nearest


def _is_usual(options: DecodingOptions) -> bool:
    """Whether the window is searched in one row and its text is asked for."""
    return options.task != "detect_language" and search_key(options) == (False, 1)
