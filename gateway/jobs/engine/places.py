"""Whose line goes next: as many run at a time as the settings say, fair over the keys.

A key with fewer lines at work for its weight goes first, then the key that was served longest ago. Within one
key lines at which the process has not ended yet go first, then the smaller priority, then the older batch. So
a line that ends the process is tried again when the others are done, and the last time alone.

Places alone do not bound the memory, since a line may be four hours long: no further line begins, and none at
work has its audio prepared, while those at work have more than `max_audio_s`.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Rank:
    """Where a batch's lines stand among those of other batches."""

    key: str
    weight: float = 1.0
    priority: int = 5
    serial: int = 0


@dataclass(slots=True, eq=False)
class Place:
    """One line at work."""

    rank: Rank
    places: Places
    num_interrupted: int = 0  # times that the process ended while the line was at work
    alone: bool = False
    audio_s: float = 0.0
    is_given: asyncio.Event = field(default_factory=asyncio.Event)

    @asynccontextmanager
    async def preparing(self) -> AsyncIterator[None]:
        """Begins the block when the line's audio may be prepared; set `audio_s` in it."""
        self.audio_s = 0.0  # that of an earlier try is gone
        self.places.freed.set()
        async with self.places.preparers:
            await self.places.wait_for_memory()
            yield


class Places:
    """The lines at work and those that wait for it."""

    def __init__(self, num_places: int, max_audio_s: float, num_prepared: int = 1) -> None:
        """num_prepared: lines whose audio is prepared at the same time."""
        self._num_places = num_places
        self._max_audio_s = max_audio_s
        self.preparers = asyncio.Semaphore(num_prepared)
        self.freed = asyncio.Event()  # a line has less audio than before
        self._waiting: list[Place] = []
        self._at_work: set[Place] = set()
        self._of_key: Counter[str] = Counter()  # at work
        self._served: defaultdict[str, int] = defaultdict(int)  # key → when it had its last turn
        self._turns = itertools.count(1)

    @property
    def num_at_work(self) -> int:
        return len(self._at_work)

    @property
    def audio_s(self) -> float:
        """Audio of the lines at work, as far as it is known."""
        return sum(place.audio_s for place in self._at_work)

    @asynccontextmanager
    async def one(self, rank: Rank, num_interrupted: int = 0, *, alone: bool = False) -> AsyncIterator[Place]:
        """Holds a place during the block.

        alone: no other line is at work meanwhile.
        """
        place = Place(rank, self, num_interrupted, alone)
        self._waiting.append(place)
        self.give()
        try:
            await place.is_given.wait()
            yield place
        finally:
            if place in self._at_work:
                self._at_work.remove(place)
                self._of_key[rank.key] -= 1
            else:
                self._waiting.remove(place)
            self.freed.set()
            self.give()

    async def wait_for_memory(self) -> None:
        """Returns when the lines at work have less than `max_audio_s`."""
        while self.audio_s >= self._max_audio_s:
            self.freed.clear()
            await self.freed.wait()

    def give(self) -> None:
        """Gives free places to the lines that wait."""
        while self._waiting and self._is_room():
            place = min(self._waiting, key=self._order)
            if place.alone and self._at_work:
                return  # the next one, when all others are done
            self._waiting.remove(place)
            self._at_work.add(place)
            self._of_key[place.rank.key] += 1
            self._served[place.rank.key] = next(self._turns)
            place.is_given.set()

    def _is_room(self) -> bool:
        if not self._at_work:
            return True
        is_alone = any(place.alone for place in self._at_work)
        return len(self._at_work) < self._num_places and self.audio_s < self._max_audio_s and not is_alone

    def _order(self, place: Place) -> tuple[float, int, int, int, int]:
        rank = place.rank
        turn = (self._of_key[rank.key] / rank.weight, self._served[rank.key])
        return *turn, place.num_interrupted, rank.priority, rank.serial
