"""Uploads whose windows are about to come."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Expected:
    """How many uploads are being received or prepared at this moment. `changed` is called as each ends."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._uploads: set[object] = set()

    def __len__(self) -> int:
        return len(self._uploads)

    @contextmanager
    def upload(self, longest_s: float | None) -> Iterator[None]:
        """One upload is expected while the block runs, for `longest_s` seconds if that is shorter."""
        loop = asyncio.get_running_loop()
        upload = object()
        self._uploads.add(upload)
        timer = None if longest_s is None else loop.call_later(longest_s, self._uploads.discard, upload)
        try:
            yield
        finally:
            if timer is not None:
                timer.cancel()
            self._uploads.discard(upload)
            loop.call_soon(self._changed)  # behind the window that is now ready
