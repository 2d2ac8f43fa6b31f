"""When a batch at work has to stop: it was cancelled, its time is over, or the server goes down."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

Stop = asyncio.Event


class Stops:
    """The batches that this process drives; all of it runs on one event loop but `begin_drain` and `stop`."""

    def __init__(self) -> None:
        """On the loop that drives the batches."""
        self._loop = asyncio.get_running_loop()
        self._of_batch: defaultdict[str, set[Stop]] = defaultdict(set)
        self._drain = asyncio.Event()
        self._is_idle = asyncio.Event()
        self._is_idle.set()

    @property
    def batch_ids(self) -> list[str]:
        return list(self._of_batch)

    @contextmanager
    def of(self, batch_id: str) -> Iterator[Stop]:
        """The batch's event during the block; raises CancelledError if the server goes down."""
        self.check()
        stop = Stop()
        self._of_batch[batch_id].add(stop)
        self._is_idle.clear()
        try:
            yield stop
        finally:
            self._of_batch[batch_id].discard(stop)
            if not self._of_batch[batch_id]:
                del self._of_batch[batch_id]
            if not self._of_batch:
                self._is_idle.set()

    def stop(self, batch_id: str) -> None:
        """Has the batch stop its lines. From any thread."""
        self._loop.call_soon_threadsafe(self._set, batch_id)

    def begin_drain(self) -> None:
        """Has every batch stop. From any thread or a signal handler."""
        self._loop.call_soon_threadsafe(self._set_all)

    async def drain(self) -> None:
        """Returns when every batch has stopped."""
        self._set_all()
        await self._is_idle.wait()

    def check(self) -> None:
        """Raises CancelledError if the server goes down."""
        if self._drain.is_set():
            raise asyncio.CancelledError

    async def sleep(self, seconds: float) -> None:
        """Sleeps; raises CancelledError when the server goes down."""
        try:
            async with asyncio.timeout(seconds):
                await self._drain.wait()
        except TimeoutError:
            return
        raise asyncio.CancelledError

    def _set(self, batch_id: str) -> None:
        for stop in self._of_batch.get(batch_id, ()):
            stop.set()

    def _set_all(self) -> None:
        self._drain.set()
        for batch_id in self._of_batch:
            self._set(batch_id)
