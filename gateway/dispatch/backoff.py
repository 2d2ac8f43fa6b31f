"""Windows that a worker had no memory for: each rests, longer every time, and is sent again for a while.

Memory is mostly short for a moment: a neighbour's request, another process, a worker that loads beside. The
window itself is rarely the cause, for an engine that runs out of memory halves its batch first.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from asr.errors import AsrError, Overloaded
from gateway.dispatch.lane import rest_s
from gateway.dispatch.pending import Errand

log = logging.getLogger(__name__)


class Resting:
    """The windows that rest now. `wake` takes each when its time has come."""

    def __init__(self, wait_s: float, wake: Callable[[Errand], None]) -> None:
        self._wait_s = wait_s  # from a window's first refusal until its request fails
        self._wake = wake
        self._timers: dict[Errand, asyncio.TimerHandle] = {}

    def __len__(self) -> int:
        return sum(not errand.outcome.done() for errand in self._timers)

    def lay(self, errand: Errand, now: float) -> None:
        """Lets a window rest that has been refused at this moment, or fails it."""
        if errand in self._timers:
            return
        errand.lacks += 1
        if errand.lacks == 1:
            errand.lacked_at = now
        if now - errand.lacked_at >= self._wait_s:
            log.warning("no worker had memory for a window: refused %d times", errand.lacks)
            errand.resolve(Overloaded(f"no worker has had memory for this audio for {self._wait_s:g} s"))
            return
        timer = asyncio.get_running_loop().call_later(rest_s(errand.lacks), self._end, errand)
        self._timers[errand] = timer

    def fail_all(self, error: AsrError) -> None:
        for errand, timer in self._timers.items():
            timer.cancel()
            errand.resolve(error)
        self._timers.clear()

    def _end(self, errand: Errand) -> None:
        del self._timers[errand]
        self._wake(errand)
