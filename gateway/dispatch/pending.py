"""A session's place in the queue, and its windows on their way."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol

from asr.errors import AsrError
from asr.schema import Hypothesis, Window
from gateway.dispatch.lane import Lane

Outcome = asyncio.Future[Hypothesis | AsrError]


@dataclass(slots=True, eq=False)
class Errand:
    """One window on its way to one outcome."""

    session: int
    window: Window
    outcome: Outcome
    deaths: int = 0  # workers that ended over it
    attempts: set[Attempt] = field(default_factory=set)  # that are out
    resent: int = 0  # because an answer was missed
    lacks: int = 0  # refusals for want of memory
    lacked_at: float = 0.0  # the first of them

    def resolve(self, outcome: Hypothesis | AsrError) -> None:
        """The first outcome counts; after a cancellation none does."""
        if not self.outcome.done():
            self.outcome.set_result(outcome)


@dataclass(slots=True, eq=False)
class Attempt:
    """One errand at one upstream."""

    errand: Errand
    lane: Lane
    sent_at: float
    ahead: int  # windows that were out there, itself included
    task: asyncio.Task[None] | None = None
    released: bool = False  # does not count as outstanding any more


class Sender(Protocol):
    """The part of the dispatcher that a ticket is for."""

    def enqueue(self, session: int, window: Window) -> Outcome: ...

    def leave(self, session: int) -> None: ...


class Ticket:
    """One session's place in the queue. Leaving it drops what was not sent and forgets what was."""

    def __init__(self, sender: Sender, session: int) -> None:
        self._sender = sender
        self._session = session
        self._outcomes: set[Outcome] = set()

    async def decode(self, window: Window) -> Hypothesis | AsrError:
        """The window's outcome; it waits its turn. An error is a value."""
        outcome = self._sender.enqueue(self._session, window)
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
