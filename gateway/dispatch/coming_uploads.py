"""Uploads that are being received or prepared: their windows are about to come."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class ComingUploads:
    """The number of uploads on their way. `on_change` is called after each of them has ended."""

    def __init__(self, on_change: Callable[[], None]) -> None:
        self._on_change = on_change
        self._uploads: set[object] = set()

    def __len__(self) -> int:
        return len(self._uploads)

    @contextmanager
    def one(self, max_wait_s: float | None = None) -> Iterator[None]:
        """Counts one upload while the block runs, but no longer than `max_wait_s`."""
        loop = asyncio.get_running_loop()
        upload = object()
        self._uploads.add(upload)
        timer = None if max_wait_s is None else loop.call_later(max_wait_s, self._uploads.discard, upload)
        try:
            yield
        finally:
            if timer is not None:
                timer.cancel()
            self._uploads.discard(upload)
            loop.call_soon(self._on_change)  # after the upload's window has entered the queue
