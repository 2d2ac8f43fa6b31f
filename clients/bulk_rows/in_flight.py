"""Entries → rows by threads, each row as soon as it is there."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from queue import SimpleQueue

from bulk_rows.entries import Entry
from bulk_rows.rows import Row


def rows_of(call: Callable[[Entry], Row], entries: Iterable[Entry], in_flight: int) -> Iterator[Row]:
    """The rows in the order in which they end; a bug in `call` is raised here.

    Threads are daemons: when the caller leaves the loop, they end with the program.
    """
    ended: SimpleQueue[Row | BaseException | None] = SimpleQueue()
    waiting = iter(entries)
    lock = threading.Lock()
    is_left = threading.Event()

    def work() -> None:
        try:
            while not is_left.is_set():
                with lock:
                    entry = next(waiting, None)
                if entry is None:
                    break
                ended.put(call(entry))
        except BaseException as error:
            ended.put(error)
        ended.put(None)

    for _ in range(in_flight):
        threading.Thread(target=work, daemon=True).start()
    try:
        active = in_flight
        while active:
            item = ended.get()
            if isinstance(item, BaseException):
                raise item
            if item is None:
                active -= 1
            else:
                yield item
    finally:
        is_left.set()
