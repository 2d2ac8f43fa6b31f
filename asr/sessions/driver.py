"""Runs sessions to their end on one engine: the windows of all of them share its batches.

Batches are fair: each takes one window of every session in turn, so that a short request is done after its
own few windows, however long its neighbours are.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from asr.engine import Engine
from asr.errors import AsrError, EngineFailure
from asr.schema import Hypothesis
from asr.sessions.base import BROKEN, Offer, Session

log = logging.getLogger(__name__)
T = TypeVar("T")


def drive(
    engine: Engine,
    sessions: Sequence[Session],
    *,
    on_progress: Callable[[int], None] | None = None,
    on_batch: Callable[[int, int], None] | None = None,
    expired: Callable[[int], AsrError | None] | None = None,
) -> None:
    """Decodes until no session offers a window: each is done, or live and to be driven again once it is fed.

    What fails is in its session's `error`.

    on_progress(i): session i has taken an outcome. on_batch(windows, outstanding): a batch of `windows` goes
    to the engine, and `outstanding` are known, those included. expired(i): an error that ends session i now,
    or None.
    """
    waiting: list[deque[Offer]] = [deque() for _ in sessions]
    turn = 0
    while True:
        for i, session in enumerate(sessions):
            if expired is not None and not session.done and (error := expired(i)) is not None:
                session.error = error
            if session.error is not None:
                waiting[i].clear()
            elif not session.done:
                waiting[i].extend(_guarded(session, session.offers) or ())
        batch = _take(waiting, engine.max_batch_size, turn)
        if not batch:
            return
        turn += 1
        if on_batch is not None:
            on_batch(len(batch), len(batch) + sum(map(len, waiting)))
        for (i, offer), outcome in zip(batch, _decode(engine, batch), strict=True):
            session = sessions[i]
            if session.error is None:
                _guarded(session, partial(session.accept, offer, outcome))
                if on_progress is not None:
                    on_progress(i)


def _take(waiting: list[deque[Offer]], size: int, turn: int) -> list[tuple[int, Offer]]:
    """At most `size` offers, one of each session in turn; each batch begins with another session."""
    batch: list[tuple[int, Offer]] = []
    order = [(turn + i) % len(waiting) for i in range(len(waiting))]
    while len(batch) < size and any(waiting):
        for i in order:
            if waiting[i] and len(batch) < size:
                batch.append((i, waiting[i].popleft()))
    return batch


def _decode(engine: Engine, batch: list[tuple[int, Offer]]) -> Sequence[Hypothesis | AsrError]:
    try:
        return engine.decode([offer.window for _, offer in batch])
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
