"""Sound between the thread that records it and the one that sends it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

RATE = 24_000  # Hz; OpenAI's Realtime API takes no other PCM
BYTES_PER_MS = RATE * 2 // 1000
CHUNK_MS = 50
CHUNK_BYTES = CHUNK_MS * BYTES_PER_MS
MAX_MS = 600_000  # without an answer; older sound is dropped
BURST_CHUNKS = 20  # are sent at once after a connection has broken
WAKE_S = 0.5  # between two looks at whether the connection still stands


class Tape:
    """16-bit PCM, from the oldest sample that the server has not answered. Positions are in bytes.

    It outlives the connection, so that what was said meanwhile, or not answered, is sent to the next one.
    """

    def __init__(self) -> None:
        self._sound = bytearray()
        self._start = 0
        self._is_ended = False
        self._changed = threading.Condition()
        self.failure: Exception | None = None  # of the source

    @property
    def start(self) -> int:
        return self._start

    def record(self, source: Iterable[bytes]) -> None:
        """Takes all of the source's chunks; meant for a thread of its own."""
        try:
            for chunk in source:
                if self._is_ended:
                    return
                self._append(chunk)
        except Exception as error:  # the thread that waits for the sound raises it
            self.failure = error
        finally:
            self.end()

    def end(self) -> None:
        """No sound comes from now on."""
        with self._changed:
            self._is_ended = True
            self._changed.notify_all()

    def after(self, position: int, is_wanted: Callable[[], bool]) -> bytes:
        """The next chunk, waited for; empty at the end, or once it is not wanted any more."""
        with self._changed:
            while is_wanted():
                first = max(position - self._start, 0)
                if first < len(self._sound):
                    return bytes(self._sound[first : first + BURST_CHUNKS * CHUNK_BYTES])
                if self._is_ended:
                    break
                self._changed.wait(WAKE_S)
        return b""

    def forget_before(self, position: int) -> None:
        """Drops sound that no connection needs again."""
        with self._changed:
            count = min(max(position - self._start, 0), len(self._sound)) // 2 * 2
            del self._sound[:count]
            self._start += count

    def _append(self, chunk: bytes) -> None:
        with self._changed:
            self._sound += chunk
            self._changed.notify_all()
        self.forget_before(self._start + len(self._sound) - MAX_MS * BYTES_PER_MS)
