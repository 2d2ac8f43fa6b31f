"""What is seen on the terminal: the bar while it runs, the table at the end."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Self

from tqdm import tqdm

from tune.configurations import Configuration
from tune.decisions import ROUNDS
from tune.measurements import Cell, Spread
from tune.outcome import Outcome

SHOWN_CHANGES = 8


class Bar:
    """A bar over the measurements, with the time left."""

    def __enter__(self) -> Self:
        self._bar = tqdm(total=0, unit="run", file=sys.stderr, dynamic_ncols=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def starts(self, stage: str, configuration: Configuration) -> None:
        self._bar.set_description_str(f"{stage}: {configuration}")

    def expect(self, left: int) -> None:
        self._bar.total = self._bar.n + left
        self._bar.refresh()

    def done(self) -> None:
        self._bar.total = max(self._bar.total or 0, self._bar.n + 1)
        self._bar.update()


def table(outcome: Outcome) -> str:
    """All configurations, the winner first, losers with the reason, changed words below."""
    rows = [["", "configuration", "× real time", "one clip, s", "MiB", "wrong", "rounds", "why not"]]
    for number, cell in enumerate(outcome.ranked, 1):
        rows.append([str(number), str(cell.configuration), *_figures(cell), cell.verdict])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    lines.insert(0, outcome.title)
    lines += _changes(outcome.ranked)
    if outcome.is_disturbed:
        lines.append("* these cores did other work meanwhile: tune again when they are quiet")
    return "\n".join(lines)


def _figures(cell: Cell) -> list[str]:
    if not cell.samples:
        return ["", "", "", "", "0"]
    star = "*" if cell.is_disturbed else ""
    wrong = "" if cell.words is None else f"{cell.words.wrong} of {cell.words.total}"
    return [
        _spread(cell.throughput, 1) + star,
        _spread(cell.clip_s, 2),
        str(round(cell.peak_bytes / 2**20)),
        wrong,
        f"{len(cell.samples)}",
    ]


def _spread(values: Spread, digits: int) -> str:
    if values.count < ROUNDS:
        return f"{values.median:.{digits}f}"
    return f"{values.median:.{digits}f} ({values.low:.{digits}f}-{values.high:.{digits}f})"


def _changes(cells: Sequence[Cell]) -> list[str]:
    """Which words differ from those of float32 torch, once for cells that changed the same."""
    found: dict[tuple[str, ...], list[int]] = {}
    for number, cell in enumerate(cells, 1):
        if cell.words is not None and cell.words.changed:
            found.setdefault(cell.words.changed, []).append(number)
    return [
        f"words changed by {', '.join(map(str, numbers))}: {'; '.join(changed[:SHOWN_CHANGES])}"
        + (f"; {len(changed) - SHOWN_CHANGES} more" if len(changed) > SHOWN_CHANGES else "")
        for changed, numbers in found.items()
    ]
