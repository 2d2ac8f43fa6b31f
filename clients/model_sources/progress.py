"""The progress of a download, on stderr."""

from __future__ import annotations

import sys
import time
from typing import IO


class ProgressBar:
    """A line on stderr that shows how far a download is; a line every 10 % where stderr is no terminal."""

    def __init__(self, name: str, stream: IO[str] | None = None) -> None:
        self._name = name
        self._stream = stream or sys.stderr
        self._live = self._stream.isatty()
        self._shown = -1
        self._started = time.monotonic()
        self._first: int | None = None

    def __call__(self, done: int, total: int) -> None:
        if self._first is None:
            self._first = done
        step = done * 100 // total if total else done // 10_000_000
        if step == self._shown or (not self._live and step // 10 == self._shown // 10):
            return
        self._shown = step
        speed = (done - self._first) / max(time.monotonic() - self._started, 1e-3) / 1e6
        share = f"[{'#' * (step * 30 // 100):<30}] {step:3d} %" if total else ""
        end = "\r" if self._live and done != total else "\n"
        whole = f" of {total / 1e6:.1f}" if total else ""
        print(f"{self._name} {share} {done / 1e6:.1f}{whole} MB, {speed:.1f} MB/s ",
              end=end, file=self._stream, flush=True)  # fmt: skip
