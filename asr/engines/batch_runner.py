"""Any windows → one outcome each, whatever goes wrong: what every engine does around its batches."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from asr.engine import OnFound
from asr.engines.decoding.plan import search_key
from asr.errors import AsrError, EngineFailure, Overloaded
from asr.schema import Hypothesis, Window

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class BatchRunner:
    """An engine's batches: `check` refuses a window with an AsrError, `decode_batch` may raise anything.

    A window has a row for each of its beams or samples, and a batch no more than `max_rows`, unless it is
    one window alone.
    """

    max_batch_size: int  # windows
    max_rows: int
    check: Callable[[Window], None]
    decode_batch: Callable[[Sequence[Window], OnFound], Sequence[Hypothesis]]
    is_out_of_memory: Callable[[Exception], bool]
    after_out_of_memory: Callable[[], None] = lambda: None
    oom_count: int = 0  # batches that ran out of memory

    def decode(
        self, windows: Sequence[Window], on_found: OnFound | None = None
    ) -> list[Hypothesis | AsrError]:
        """One outcome per window, in order; a window that is refused takes no place in a batch."""
        tell = on_found or (lambda place, hypothesis: None)
        outcomes: list[Hypothesis | AsrError | None] = [None] * len(windows)
        good = []
        for index, window in enumerate(windows):
            try:
                self.check(window)
                good.append(index)
            except AsrError as error:
                outcomes[index] = error
        for batch in self._batches(windows, good):
            found = self._attempt([windows[i] for i in batch], _at(tell, batch))
            for index, outcome in zip(batch, found, strict=True):
                outcomes[index] = outcome
        return [outcome for outcome in outcomes if outcome is not None]

    def _batches(self, windows: Sequence[Window], good: Sequence[int]) -> list[list[int]]:
        """The indexes of the good windows, each in the first batch of its length that has room for it."""
        batches: list[list[int]] = []
        rooms: list[int] = []  # rows
        for index in good:
            _, rows = search_key(windows[index].options)
            for place, batch in enumerate(batches):
                is_alike = windows[batch[0]].encoder_frames == windows[index].encoder_frames
                if is_alike and len(batch) < self.max_batch_size and rows <= rooms[place]:
                    batch.append(index)
                    rooms[place] -= rows
                    break
            else:
                batches.append([index])
                rooms.append(self.max_rows - rows)
        return batches

    def _attempt(self, windows: Sequence[Window], on_found: OnFound) -> list[Hypothesis | AsrError]:
        """The batch's outcomes; in halves after running out of memory, one by one after another error."""
        ran_out = False
        try:
            return list(self.decode_batch(windows, on_found))
        except Exception as error:
            ran_out = self.is_out_of_memory(error)
            if not ran_out:
                logger.exception("a batch of %d windows failed", len(windows))
        # outside the except block: the error holds on to every tensor of the failed batch
        if ran_out:
            self.oom_count += 1
            logger.warning("out of memory with %d windows", len(windows))
            self.after_out_of_memory()
        if len(windows) == 1:
            if ran_out:
                return [Overloaded("not enough memory to decode this window now; try again later")]
            return [EngineFailure("the engine failed on this window")]
        size = (len(windows) + 1) // 2 if ran_out else 1
        parts = [range(len(windows))[first : first + size] for first in range(0, len(windows), size)]
        return [
            outcome
            for part in parts
            for outcome in self._attempt([windows[i] for i in part], _at(on_found, part))
        ]


def _at(on_found: OnFound, places: Sequence[int]) -> OnFound:
    """The same for a part of the windows, which have these places among all."""
    return lambda place, hypothesis: on_found(places[place], hypothesis)
