"""Drives one session over its ticket: its windows are decoded side by side, their outcomes handed back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from asr.errors import AsrError, EngineFailure
from asr.schema import Hypothesis
from asr.sessions import BROKEN, LiveSession, Offer, Session
from gateway.dispatch.pending import Ticket

log = logging.getLogger(__name__)

# what a session is woken by: the outcome of a window, or None for new audio
News = asyncio.Queue[tuple[Offer, Hypothesis | AsrError] | None]


async def run_session(
    session: Session, ticket: Ticket, on_progress: Callable[[], Awaitable[None]] | None = None
) -> None:
    """Runs the session to its end. A failure is in `session.error`. A cancelled run leaves no task behind."""
    news: News = asyncio.Queue()
    tasks: set[asyncio.Task[None]] = set()  # windows under way, and the wait for new audio

    def start(work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    try:
        if isinstance(session, LiveSession):
            start(_feed(session, news))
        while not session.done:
            for offer in session.offers():
                start(_decode(ticket, offer, news))
            if not tasks and news.empty():
                raise RuntimeError("the session is not done, offers nothing and waits for nothing")
            if (outcome := await news.get()) is not None:
                session.accept(*outcome)
                if on_progress is not None:
                    await on_progress()
            await asyncio.sleep(0)  # other sessions' turn: accepting takes time on this loop
    except Exception:
        log.exception("a session broke")
        session.error = EngineFailure(BROKEN)
    finally:
        for task in tasks:
            task.cancel()


async def _decode(ticket: Ticket, offer: Offer, news: News) -> None:
    outcome: Hypothesis | AsrError
    try:
        outcome = await ticket.decode(offer.window)
    except Exception:
        log.exception("a window could not be sent")
        outcome = EngineFailure(BROKEN)
    news.put_nowait((offer, outcome))


async def _feed(session: LiveSession, news: News) -> None:
    """Wakes the driver whenever audio has come, and once more when no more will."""
    try:
        while await session.fed():
            news.put_nowait(None)
    except Exception:
        log.exception("a session's audio broke off")
    news.put_nowait(None)
