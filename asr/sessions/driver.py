"""Runs sessions to their end on one engine: the windows of all of them share its batches.

Batches are fair: the session that has been served least comes first, among equals the one with the shortest
window. So a short request is done after its own few windows, however long its neighbours are.
"""

from __future__ import annotations

import logging
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import ceil
from typing import TypeVar

from asr.engine import Engine, OnFound
from asr.errors import AsrError, EngineFailure
from asr.schema import Hypothesis
from asr.sessions.base import BROKEN, Offer, Session

log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Batch:
    """The size of a batch that goes to the engine."""

    windows: int
    room: int  # windows that it could have had
    outstanding: int  # windows that are known and not decoded, its own included


OnProgress = Callable[[int, bool], None]
Waiting = defaultdict[int, deque[Offer]]  # one session's offers, by the length of their windows


def drive(
    engine: Engine,
    sessions: Sequence[Session],
    *,
    on_progress: OnProgress | None = None,
    on_batch: Callable[[Batch], None] | None = None,
    expired: Callable[[int], AsrError | None] | None = None,
) -> None:
    """Decodes until no session offers a window: each is done, or live and to be driven again once it is fed.

    What fails is in its session's `error`.

    on_progress(i, goes_on): session i has taken an outcome; whether other windows are still to be decoded.
    on_batch(batch): it goes to the engine now. expired(i): an error that ends session i now, or None.
    """
    waiting: list[Waiting] = [defaultdict(deque) for _ in sessions]
    served = [0] * len(sessions)  # frames of audio
    while True:
        for i, session in enumerate(sessions):
            if expired is not None and not session.done and (error := expired(i)) is not None:
                session.error = error
            if session.error is not None:
                waiting[i].clear()
            elif not session.done:
                for offer in _guarded(session, session.offers) or ():
                    waiting[i][offer.window.encoder_frames].append(offer)
        batch, room = _take(waiting, served, engine)
        if not batch:
            return
        left = sum(len(offers) for one in waiting for offers in one.values())
        if on_batch is not None:
            on_batch(Batch(len(batch), room, len(batch) + left))
        outcomes = _Outcomes(sessions, batch, on_progress)
        for place, outcome in enumerate(_decode(engine, batch, outcomes.take)):
            outcomes.take(place, outcome, goes_on=left > 0)


class _Outcomes:
    """Hands the outcomes of one batch to their sessions. What the engine tells while it goes on counts."""

    def __init__(
        self, sessions: Sequence[Session], batch: Sequence[tuple[int, Offer]], on_progress: OnProgress | None
    ) -> None:
        self._sessions = sessions
        self._waiting = dict(enumerate(batch))
        self._on_progress = on_progress

    def take(self, place: int, outcome: Hypothesis | AsrError, goes_on: bool = True) -> None:
        """The outcome of the window at this place of the batch; a second one is dropped."""
        if place not in self._waiting:
            return
        i, offer = self._waiting.pop(place)
        session = self._sessions[i]
        if session.error is None:
            _guarded(session, partial(session.accept, offer, outcome))
            if self._on_progress is not None:
                self._on_progress(i, goes_on)


def _take(
    waiting: Sequence[Waiting], served: list[int], engine: Engine
) -> tuple[list[tuple[int, Offer]], int]:
    """The next batch, windows of one length of the sessions that have been served least; and its room."""
    lengths = [
        (served[i], frames) for i, one in enumerate(waiting) for frames, offers in one.items() if offers
    ]
    if not lengths:
        return [], 0
    _, frames = min(lengths)
    batch: list[tuple[int, Offer]] = []
    room = engine.most_together(frames)
    alike = sum(len(one.get(frames, ())) for one in waiting)
    for _ in range(ceil(alike / ceil(alike / room))):  # batches alike: 2 and 2, not 3 and 1
        i = min((i for i, one in enumerate(waiting) if one.get(frames)), key=lambda each: served[each])
        offer = waiting[i][frames].popleft()
        served[i] += offer.window.num_frames
        batch.append((i, offer))
    return batch, room


def _decode(
    engine: Engine, batch: list[tuple[int, Offer]], on_found: OnFound
) -> Sequence[Hypothesis | AsrError]:
    try:
        return engine.decode([offer.window for _, offer in batch], on_found)
    except Exception:
        log.exception("the engine failed on a batch of %d windows", len(batch))
        return [EngineFailure("the engine failed on this request; the server log has the cause")] * len(batch)


def _guarded(session: Session, step: Callable[[], T]) -> T | None:
    """The step's result; None if the session breaks, which then fails alone."""
    try:
        return step()
    except Exception:
        log.exception("a session broke")
        session.error = EngineFailure(BROKEN)
        return None
