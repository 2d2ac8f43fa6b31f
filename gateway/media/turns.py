"""Whose upload is next: small ones first, yet nobody waits for ever.

A large upload may take a process for a minute. It is ranked as if it had come later than it did, by its
size, so a small one overtakes it, but only small ones that came soon after. Large ones also leave one process
free, where there are two or more.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from gateway.media.sizes import LARGE_BYTES

BYTES_PER_SECOND = 1_000_000  # by so much is a larger upload ranked later: the pace of media and VAD together

Place = TypeVar("Place")


@dataclass(slots=True, eq=False)
class Turn(Generic[Place]):
    """One upload's wait for a place."""

    size_bytes: int
    arrived_s: float
    place: asyncio.Future[Place] = field(repr=False)
    is_at_work: bool = False

    @property
    def is_large(self) -> bool:
        return self.size_bytes > LARGE_BYTES

    @property
    def rank(self) -> float:
        return self.arrived_s + self.size_bytes / BYTES_PER_SECOND


class Line(Generic[Place]):
    """The turns that wait, among `num_places` places."""

    def __init__(self, num_places: int) -> None:
        self._max_large = max(1, num_places - 1)
        self._num_large = 0  # at work
        self._waiting: list[Turn[Place]] = []

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, turn: Turn[Place]) -> None:
        self._waiting.append(turn)

    def take(self) -> Turn[Place] | None:
        """The next turn, at work from now on; None where none may begin."""
        may_be_large = self._num_large < self._max_large
        able = [turn for turn in self._waiting if may_be_large or not turn.is_large]
        if not able:
            return None
        turn = min(able, key=lambda turn: turn.rank)
        self._waiting.remove(turn)
        turn.is_at_work = True
        self._num_large += turn.is_large
        return turn

    def leave(self, turn: Turn[Place]) -> None:
        """The turn is over, whether it waited or was at work."""
        if turn in self._waiting:
            self._waiting.remove(turn)
        if turn.is_at_work:
            turn.is_at_work = False
            self._num_large -= turn.is_large

    def clear(self) -> list[Turn[Place]]:
        """Everyone who waits, no longer in the line."""
        waiting, self._waiting = self._waiting, []
        return waiting
