"""Which upload is prepared next: small ones first, yet none waits for ever.

A large upload may occupy a process for a minute, so its rank is delayed by its size. Small uploads that come
soon after it go first; later ones do not. Of two or more processes, large uploads leave one free. A job's
file goes while no upload waits.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from gateway.media.sizes import LARGE_BYTES

DELAY_BYTES_PER_S = 1_000_000  # an upload's rank is delayed by size / this rate: the pace of media and VAD

Worker = TypeVar("Worker")


@dataclass(slots=True, eq=False)
class UploadTurn(Generic[Worker]):
    """One upload's wait for a worker."""

    size_bytes: int
    arrived_s: float
    worker: asyncio.Future[Worker] = field(repr=False)
    is_job: bool = False
    is_at_work: bool = False

    @property
    def is_large(self) -> bool:
        return self.size_bytes > LARGE_BYTES

    @property
    def rank(self) -> tuple[bool, float]:
        """The smallest goes next."""
        return self.is_job, self.arrived_s + self.size_bytes / DELAY_BYTES_PER_S


class UploadQueue(Generic[Worker]):
    """The turns that wait for one of `num_workers` workers."""

    def __init__(self, num_workers: int) -> None:
        self._max_large = max(1, num_workers - 1)
        self._num_large = 0  # at work
        self._waiting: list[UploadTurn[Worker]] = []

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, turn: UploadTurn[Worker]) -> None:
        self._waiting.append(turn)

    def take(self) -> UploadTurn[Worker] | None:
        """The next turn, which is at work from now on; None if none may begin."""
        may_be_large = self._num_large < self._max_large
        able = [turn for turn in self._waiting if may_be_large or not turn.is_large]
        if not able:
            return None
        turn = min(able, key=lambda turn: turn.rank)
        self._waiting.remove(turn)
        turn.is_at_work = True
        self._num_large += turn.is_large
        return turn

    def leave(self, turn: UploadTurn[Worker]) -> None:
        """Ends the turn, whether it waits or is at work."""
        if turn in self._waiting:
            self._waiting.remove(turn)
        if turn.is_at_work:
            turn.is_at_work = False
            self._num_large -= turn.is_large

    def clear(self) -> list[UploadTurn[Worker]]:
        """Removes every waiting turn and returns them."""
        waiting, self._waiting = self._waiting, []
        return waiting
