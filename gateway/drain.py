"""Shutting down without losing a request: new ones are refused, running ones finish."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

GRACE_S = 2.0  # for the answers of cancelled requests


class Drain:
    """Which requests run, and whether the server still accepts new ones."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._ends_at = math.inf
        self._tasks: set[asyncio.Task[Any]] = set()
        self._begun: set[Callable[[], None]] = set()
        self.draining = False
        self.expired = False

    @property
    def running(self) -> int:
        return len(self._tasks)

    def begin(self, seconds: float) -> None:
        """Refuses new requests from now on, and cancels running ones after `seconds`. A second call sets a
        new deadline."""
        self.draining = True
        self._ends_at = self._clock() + seconds
        for callback in tuple(self._begun):
            callback()

    @contextmanager
    def when_begun(self, callback: Callable[[], None]) -> Iterator[None]:
        """Calls `callback`, during the block, once the drain begins. It may be a signal handler that calls,
        between any two instructions of the loop's thread."""
        self._begun.add(callback)
        try:
            yield
        finally:
            self._begun.discard(callback)

    def finished(self) -> bool:
        """Whether the process may end. Cancels the running requests once their time is over."""
        if not self._tasks or self._clock() >= self._ends_at + GRACE_S:
            return True
        if self._clock() >= self._ends_at and not self.expired:
            self.expired = True
            for task in self._tasks:
                task.cancel()
        return False

    def enter(self, task: asyncio.Task[Any]) -> None:
        self._tasks.add(task)

    def leave(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
