"""A live line on the terminal while a load runs: done, failed, retried, latency and RTFx of the latest."""

from __future__ import annotations

import math
import sys
from collections import deque
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column

from load_kit.load import Outcome
from load_kit.load_report import percentile

LATEST = 200  # outcomes that the live figures are taken from


class LoadProgress:
    """The line is drawn on terminals only; notes go to stderr always."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        columns = (  # a narrow terminal cuts the end of the figures, not the time
            TextColumn("{task.description}", table_column=Column(no_wrap=True)),
            BarColumn(bar_width=10),
            TimeElapsedColumn(table_column=Column(no_wrap=True, min_width=7)),
            TextColumn(
                "{task.fields[live]}", table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1)
            ),
        )
        self._bar = Progress(
            *columns, console=self._console, disable=not self._console.is_terminal, expand=True
        )
        self._task = self._bar.add_task("", live="", visible=False)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def start(self, name: str, count: int | None, duration_s: float = math.inf) -> None:
        """A new level: the bar runs over `count` requests, else over `duration_s`."""
        self._by_count = count is not None
        total = count if count is not None else duration_s
        self._done = self._failed = self._retried = 0
        self._latest: deque[Outcome] = deque(maxlen=LATEST)
        self._bar.reset(self._task, total=total, description=name, live="", visible=True)

    def show(self, outcome: Outcome) -> None:
        self._done += 1
        self._failed += outcome.failure is not None
        self._retried += bool(outcome.causes)
        self._latest.append(outcome)
        if not self._bar.disable:
            completed = self._done if self._by_count else outcome.done_s
            self._bar.update(self._task, completed=completed, live=self._live())

    def note(self, text: str) -> None:
        """A line that stays."""
        if self._bar.disable:
            print(text, file=sys.stderr, flush=True)
        else:
            self._bar.console.print(text, markup=False, highlight=False)

    def _live(self) -> str:
        seconds = sorted(outcome.latency_s for outcome in self._latest)
        span = self._latest[-1].done_s - self._latest[0].done_s
        good = [outcome for outcome in list(self._latest)[1:] if outcome.failure is None]
        parts = [f"{self._done} done"]
        parts += [f"{self._failed} failed"] if self._failed else []
        parts += [f"{self._retried} retried"] if self._retried else []
        parts.append(f"p50 {percentile(seconds, 50):.2f} p95 {percentile(seconds, 95):.2f} s")
        if span > 0:
            rtfx = sum(outcome.audio_s or 0 for outcome in good) / span
            parts.append(f"{len(good) / span:.1f}/s RTFx {rtfx:.1f}")
        return " · ".join(parts)
