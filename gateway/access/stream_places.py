"""How many streams may be open at once, of one key and in all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from asr.errors import Overloaded
from gateway.api_errors import RateLimited
from gateway.caller import LOCAL, Caller
from gateway.settings import RealtimeSettings

RETRY_S = 5.0


class TooManyStreams(RateLimited):
    code = "too_many_streams"


class ServerFull(Overloaded):
    code = TooManyStreams.code


class StreamPlaces:
    """Counts open streams."""

    def __init__(self, settings: RealtimeSettings) -> None:
        self._settings = settings
        self._open: Counter[str] = Counter()  # by the caller's name

    def __len__(self) -> int:
        return self._open.total()

    @contextmanager
    def take(self, caller: Caller) -> Iterator[None]:
        """Holds a place during the block; raises TooManyStreams or ServerFull."""
        if len(self) >= self._settings.max_streams:
            raise ServerFull(f"{len(self)} streams are open already; try again in {RETRY_S:g} s")
        its_own = self._open[caller.name]
        if caller.name != LOCAL.name and its_own >= self._settings.max_streams_per_key:
            raise TooManyStreams(
                f"{its_own} streams of this key are open already; try again in {RETRY_S:g} s",
                retry_after_s=RETRY_S,
            )
        self._open[caller.name] += 1
        try:
            yield
        finally:
            self._open[caller.name] -= 1
            self._open += Counter()  # forgets callers without a stream
