"""A session's place in the queue, and its windows until each has an outcome."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol

from asr.errors import AsrError
from asr.schema import Hypothesis, Window
from gateway.dispatch.lane import Lane, Use

Outcome = asyncio.Future[Hypothesis | AsrError]


@dataclass(slots=True, eq=False)
class PendingWindow:
    """A window that has no outcome yet."""

    session: int
    window: Window
    outcome: Outcome
    use: Use = "file"
    deaths: int = 0  # workers that died while they decoded its batch
    attempts: set[Attempt] = field(default_factory=set)  # in flight
    num_resent: int = 0  # times it was sent again because an answer did not come
    memory_refusals: int = 0  # times a worker had no memory for it
    first_memory_refusal_at: float = 0.0

    def resolve(self, outcome: Hypothesis | AsrError) -> None:
        """Sets the outcome. The first one counts; after a cancellation none does."""
        if not self.outcome.done():
            self.outcome.set_result(outcome)


@dataclass(slots=True, eq=False)
class Attempt:
    """One request for a window to one upstream."""

    pending: PendingWindow
    lane: Lane
    sent_at: float
    places: float  # of a batch that the window takes
    ahead: float  # places taken on the lane when it was sent, its own included
    task: asyncio.Task[None] | None = None
    is_released: bool = False  # no longer counted as outstanding


class Sender(Protocol):
    """What a ticket needs of the dispatcher."""

    def enqueue(self, session: int, window: Window, use: Use) -> Outcome: ...

    def leave(self, session: int) -> None: ...


class Ticket:
    """One session's place in the queue. Leaving it drops unsent windows and ignores answers to the others."""

    def __init__(self, sender: Sender, session: int, use: Use = "file") -> None:
        self._sender = sender
        self._session = session
        self._use = use
        self._outcomes: set[Outcome] = set()

    async def decode(self, window: Window) -> Hypothesis | AsrError:
        """The window's outcome, after its turn in the queue. An error is a value."""
        outcome = self._sender.enqueue(self._session, window, self._use)
        self._outcomes.add(outcome)
        outcome.add_done_callback(self._outcomes.discard)
        return await outcome

    def __enter__(self) -> Ticket:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._sender.leave(self._session)
        for outcome in tuple(self._outcomes):
            outcome.cancel()
