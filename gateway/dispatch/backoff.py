"""Windows that a worker had no memory for: each pauses, longer every time, and is then sent again.

Memory is mostly short for a moment: a neighbour's request, another process, a worker that is loading. The
window is rarely the cause, for an engine that runs out of memory halves its batch first.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from asr.errors import AsrError, Overloaded
from gateway.dispatch.lane import backoff_s
from gateway.dispatch.pending import PendingWindow

log = logging.getLogger(__name__)


class Backoff:
    """The windows that pause now. `send_again` gets each when its pause is over."""

    def __init__(self, max_s: float, send_again: Callable[[PendingWindow], None]) -> None:
        """max_s: from a window's first refusal until its request fails."""
        self._max_s = max_s
        self._send_again = send_again
        self._timers: dict[PendingWindow, asyncio.TimerHandle] = {}

    def __len__(self) -> int:
        return sum(not pending.outcome.done() for pending in self._timers)

    def add(self, pending: PendingWindow, now: float) -> None:
        """Starts the pause of a window that was refused now, or fails the window if its time is over."""
        if pending in self._timers:
            return
        pending.memory_refusals += 1
        if pending.memory_refusals == 1:
            pending.first_memory_refusal_at = now
        if now - pending.first_memory_refusal_at >= self._max_s:
            log.warning("no worker had memory for a window: refused %d times", pending.memory_refusals)
            pending.resolve(Overloaded(f"no worker has had memory for this audio for {self._max_s:g} s"))
            return
        pause_s = backoff_s(pending.memory_refusals)
        self._timers[pending] = asyncio.get_running_loop().call_later(pause_s, self._end, pending)

    def fail_all(self, error: AsrError) -> None:
        """Fails every window that pauses."""
        for pending, timer in self._timers.items():
            timer.cancel()
            pending.resolve(error)
        self._timers.clear()

    def _end(self, pending: PendingWindow) -> None:
        del self._timers[pending]
        self._send_again(pending)
