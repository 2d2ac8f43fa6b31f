"""The search: words first, then a grid, then rounds among the best, then one axis after the other."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from tune.configurations import Configuration, Space
from tune.decisions import (
    ROUNDS,
    is_disturbed,
    is_far_behind,
    is_faster,
    losing_reason,
    winner_of,
    words_reason,
)
from tune.measurements import Cell, Failure, Sample
from tune.recordings import Words

MOST_CONTENDERS = 4  # beside today's settings
AGAIN = 2  # times that a disturbed measurement is made again
MOST_AGAIN = 10  # in the whole search: a machine that is never quiet gets its answer too
NO_TIME = "not measured, the time was up"


class Progress(Protocol):
    """Where the search is; `expect` corrects how many measurements are left."""

    def starts(self, stage: str, configuration: Configuration) -> None: ...
    def expect(self, left: int) -> None: ...
    def done(self) -> None: ...


@dataclass(slots=True)
class Search:
    """One run over a space. `measure` takes seconds; all else here takes none."""

    space: Space
    measure: Callable[[Configuration], Sample | Failure]
    count_words: Callable[[Mapping[str, str]], Words]
    exact: Words  # float32 torch's
    progress: Progress
    budget_s: float
    clock: Callable[[], float] = time.monotonic
    cells: dict[Configuration, Cell] = field(default_factory=dict)
    _begun: float = 0.0
    _took_s: dict[Configuration, float] = field(default_factory=dict)  # its last measurement
    _again_left: int = MOST_AGAIN

    def run(self) -> Cell | None:
        """The winner; None where too few rounds were possible."""
        self._begun = self.clock()
        self._gate()
        self._grid()
        self._rounds()
        winner = self._winner()
        for name in self.space.axes():
            if winner is not None:
                winner = self._along(name, winner)
                winner = self._winner() if winner.loses else winner  # it crashed after all
        if winner is None:
            return None
        for cell in self.cells.values():
            if cell is not winner and cell.samples and not cell.loses:
                cell.loses = losing_reason(cell, winner)
        return winner

    def _winner(self) -> Cell | None:
        return winner_of(self.cells.get(self.space.today), self.cells.values())

    def _gate(self) -> None:
        """Every format once: one that crashes or writes other words is out."""
        first = self.space.first_round()
        self.progress.expect(len(first) * 2)
        for configuration in first:
            self._sample("words", configuration)
        self._drop_far_behind(self._alive())

    def _grid(self) -> None:
        """What is left, window by window."""
        single = [self.space.one_by_one(cell.configuration) for cell in self._alive()]
        self.progress.expect(len(single) + (ROUNDS - 1) * (MOST_CONTENDERS + 1) + self._expected_on_axes())
        for configuration in single:
            self._sample("grid", configuration)
        self._drop_far_behind(self._alive())

    def _rounds(self) -> None:
        """The best again, interleaved, so that a slow minute meets all of them."""
        ranked = sorted(self._alive(), key=lambda cell: -cell.speed.median)
        today = self.cells.get(self.space.today)
        contenders = ranked[:MOST_CONTENDERS]
        if today in ranked and today not in contenders:
            contenders.append(today)
        self.progress.expect((ROUNDS - 1) * len(contenders) + self._expected_on_axes())
        self._repeat("rounds", [cell.configuration for cell in contenders])

    def _along(self, axis: str, winner: Cell) -> Cell:
        """The best of a winner's neighbours where it is clearly faster, else the winner."""
        neighbours = self.space.axes()[axis](winner.configuration)
        live = [one for one in neighbours if not self._cell(one).loses]
        if not live:
            return winner
        before = len(winner.samples)
        for number in range(ROUNDS):
            live = [one for one in live if not self._cell(one).loses]
            if not live or not self._has_time([winner.configuration, *live]):
                break
            for one in (winner.configuration, *live):
                self._sample(axis, one)
            if number == 0:
                self._drop_far_behind([self._cell(one) for one in live], best=winner)
        if len(winner.samples) == before:
            for one in live:
                cell = self._cell(one)
                cell.loses = cell.loses or ("" if cell.samples else NO_TIME)
        better = [cell for one in live if is_faster(cell := self._cell(one), winner) and not cell.loses]
        return max(better, key=lambda cell: cell.speed.median, default=winner)

    def _repeat(self, stage: str, configurations: Sequence[Configuration]) -> None:
        for _ in range(ROUNDS - 1):
            if not self._has_time(configurations):
                return
            for configuration in configurations:
                if not self._cell(configuration).loses:
                    self._sample(stage, configuration)

    def _sample(self, stage: str, configuration: Configuration) -> None:
        """One more sample of a configuration, or the reason why there is none."""
        cell = self._cell(configuration)
        if not self._has_time([configuration]):
            cell.loses = cell.loses or ("" if cell.samples else NO_TIME)
            return
        self.progress.starts(stage, configuration)
        found = self._undisturbed(cell)
        self.progress.done()
        if isinstance(found, Failure):
            cell.loses = found.reason
            return
        cell.samples.append(found)
        cell.words = self.count_words(found.texts)
        cell.loses = words_reason(cell.words, self.exact)

    def _undisturbed(self, cell: Cell) -> Sample | Failure:
        """A sample during which nobody else worked, or the least disturbed of a few."""
        tries: list[Sample] = []
        for _ in range(1 + AGAIN):
            begun = self.clock()
            found = self.measure(cell.configuration)
            self._took_s[cell.configuration] = self.clock() - begun
            if isinstance(found, Failure):
                return found
            if not is_disturbed(found, cell.samples + tries):
                return found
            tries.append(found)
            if self._again_left == 0 or not self._has_time([cell.configuration]):
                break
            self._again_left -= 1
        cell.is_disturbed = True
        return min(tries, key=lambda sample: sample.others_share)

    def _drop_far_behind(self, cells: Iterable[Cell], best: Cell | None = None) -> None:
        there = [cell for cell in cells if cell.samples]
        best = best or max(there, key=lambda cell: cell.speed.median, default=None)
        for cell in there:
            if best is not None and not cell.loses and is_far_behind(cell, best):
                ratio = cell.speed.median / best.speed.median
                cell.loses = f"{ratio:.2f} of the fastest's speed after {len(cell.samples)} round"

    def _alive(self) -> list[Cell]:
        return [cell for cell in self.cells.values() if cell.samples and not cell.loses]

    def _cell(self, configuration: Configuration) -> Cell:
        is_today = configuration == self.space.today
        return self.cells.setdefault(configuration, Cell(configuration, is_today=is_today))

    def _has_time(self, configurations: Sequence[Configuration]) -> bool:
        """Whether these can be measured: a known one takes as long as last time, a new one as the longest."""
        longest_s = max(self._took_s.values(), default=0.0)
        needed_s = sum(self._took_s.get(one, longest_s) for one in configurations)
        return self.clock() - self._begun + needed_s <= self.budget_s

    def _expected_on_axes(self) -> int:
        """Measurements of the last stage, at most."""
        return sum(
            ROUNDS * (1 + len(neighbours(self.space.today))) for neighbours in self.space.axes().values()
        )
