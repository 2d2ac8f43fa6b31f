"""Live windows go before files', and jobs' after both: the policy alone, without I/O or a clock.

Somebody waits for the words of a live window, and the words come as slowly as they are spoken: live windows
are few. While both wait, every `FILE_EVERY`th window is a file's, whatever the number of streams. For a job
nobody waits: its windows go while no other window does. Inside each of the three queues callers and sessions
share as in `FairQueue`.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Generic, TypeVar

from gateway.dispatch.fair_queue import FairQueue

FILE_EVERY = 4

Item = TypeVar("Item")


class LiveFirst(Generic[Item]):
    """Three fair queues behind the face of one."""

    def __init__(self) -> None:
        self._live: FairQueue[Item] = FairQueue()
        self._files: FairQueue[Item] = FairQueue()
        self._jobs: FairQueue[Item] = FairQueue()
        self._live_sessions: set[Hashable] = set()
        self._job_sessions: set[Hashable] = set()
        self._live_in_a_row = 0  # since a file's window went, or none waited

    def share_weights(self, others: Sequence[LiveFirst[Item]]) -> None:
        """Counts what a caller pays here in the others too: it has one weight over all of them."""
        self._live.neighbours = tuple(other._live for other in others)
        self._files.neighbours = tuple(other._files for other in others)

    def __len__(self) -> int:
        return len(self._live) + len(self._files) + len(self._jobs)

    @property
    def cost(self) -> float:
        """Waiting audio in seconds."""
        return self._live.cost + self._files.cost + self._jobs.cost

    @property
    def is_live(self) -> bool:
        """Whether a live session is open: somebody speaks."""
        return bool(self._live_sessions)

    @property
    def has_live(self) -> bool:
        """Whether a live window waits."""
        return len(self._live) > 0

    @property
    def has_newcomer(self) -> bool:
        """Whether a live window waits, or a file within its head start. Jobs have none."""
        return self.has_live or self._files.has_newcomer

    def may_go(self, *, files_may: bool, jobs_may: bool) -> bool:
        """Whether `pop` has an item for these."""
        if self.has_live or (files_may and len(self._files)):
            return True
        return jobs_may and not len(self._files) and len(self._jobs) > 0

    def open(
        self,
        session: Hashable,
        caller: str,
        weight: float,
        audio_s: float,
        *,
        is_live: bool = False,
        is_job: bool = False,
    ) -> None:
        """Opens a session; the sessions of one caller share its weight, in each of the queues."""
        if is_live:
            self._live_sessions.add(session)
        elif is_job:
            self._job_sessions.add(session)
        self._queue_of(session).open(session, caller, weight, audio_s)

    def push(self, session: Hashable, item: Item, cost: float) -> None:
        """Adds the item behind the session's other items."""
        self._queue_of(session).push(session, item, cost)

    def push_again(self, session: Hashable, item: Item) -> None:
        """Puts a popped item back before the session's other items."""
        self._queue_of(session).push_again(session, item)

    def pop(self, *, files_may: bool = True, jobs_may: bool = True) -> Item | None:
        """The next item; None if none may go.

        files_may, jobs_may: whether it may be a file's or a job's.
        """
        if not (self.has_live or len(self._files)):
            return self._jobs.pop() if jobs_may else None
        is_files_turn = self._live_in_a_row >= FILE_EVERY - 1 or not self.has_live
        if files_may and len(self._files) and is_files_turn:
            self._live_in_a_row = 0
            return self._files.pop()
        self._live_in_a_row = self._live_in_a_row + 1 if len(self._files) else 0
        return self._live.pop()

    def drop(self, session: Hashable) -> list[Item]:
        """Forgets the session; returns its waiting items."""
        items = self._queue_of(session).drop(session)
        self._live_sessions.discard(session)
        self._job_sessions.discard(session)
        return items

    def _queue_of(self, session: Hashable) -> FairQueue[Item]:
        if session in self._job_sessions:
            return self._jobs
        return self._live if session in self._live_sessions else self._files
