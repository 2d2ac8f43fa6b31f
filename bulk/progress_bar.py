"""A bar of the rows that are on the disk, with rate and time left, while Ray works."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Self

from tqdm import tqdm

from bulk.output import Output

EVERY_S = 2.0


class RowsBar:
    """Counts the rows of the parts that come; a context manager."""

    def __init__(self, output: Output, total: int, done: int) -> None:
        self._output = output
        self._seen = set(output.part_paths())
        self._bar = tqdm(total=total, initial=done, unit="row")
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        self._thread.join()
        self._count()
        self._bar.close()

    def _watch(self) -> None:
        while not self._end.wait(EVERY_S):
            self._count()

    def _count(self) -> None:
        for path in self._output.part_paths():
            if path not in self._seen and (rows := self._output.num_rows(path)):
                self._seen.add(path)
                self._bar.update(rows)
