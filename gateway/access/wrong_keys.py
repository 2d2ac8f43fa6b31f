"""Requests without a valid key, counted per address: beyond a limit they are refused more cheaply.

The limit saves the work of each refusal, since the server no longer waits for the rest of the body; guessing
256 random bits is hopeless anyway. A valid key always passes, for all clients behind a proxy may share one
address.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from gateway.api_errors import TooManyWrongKeys

MINUTE_S = 60.0


class WrongKeys:
    """The refusals of this minute. All addresses are forgotten together, which bounds their memory."""

    def __init__(self, per_minute: int | None, clock: Callable[[], float]) -> None:
        self._per_minute = per_minute  # of one address; None: no limit
        self._clock = clock
        self._begun_at = clock()
        self._counts: Counter[str] = Counter()

    def count(self, address: str) -> None:
        """Counts one refusal; raises TooManyWrongKeys beyond the limit."""
        if self._per_minute is None:
            return
        if self._clock() - self._begun_at >= MINUTE_S:
            self._begun_at = self._clock()
            self._counts.clear()
        self._counts[address] += 1
        if self._counts[address] > self._per_minute:
            wait_s = MINUTE_S - (self._clock() - self._begun_at)
            raise TooManyWrongKeys(
                f"more than {self._per_minute} requests without a right API key came from this address in "
                "one minute; send `Authorization: Bearer KEY` with a key that is known here",
                retry_after_s=wait_s,
            )
