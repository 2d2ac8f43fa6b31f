"""Drives one session over its ticket: what it offers is decoded side by side, what comes back is accepted."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from asr.errors import AsrError, EngineFailure
from asr.schema import Hypothesis
from asr.sessions import Offer, Session
from gateway.dispatch.pending import Ticket

log = logging.getLogger(__name__)
BROKEN = "this request could not be processed; the server's log has the cause"


async def run_session(
    session: Session, ticket: Ticket, on_progress: Callable[[], Awaitable[None]] | None = None
) -> None:
    """Runs the session to its end; what fails is in `session.error`. Cancelled, it leaves nothing running."""
    outcomes: asyncio.Queue[tuple[Offer, Hypothesis | AsrError]] = asyncio.Queue()
    tasks: set[asyncio.Task[None]] = set()

    async def decode(offer: Offer) -> None:
        outcome: Hypothesis | AsrError
        try:
            outcome = await ticket.decode(offer.window)
        except Exception:
            log.exception("a window could not be sent")
            outcome = EngineFailure(BROKEN)
        outcomes.put_nowait((offer, outcome))

    try:
        while not session.done:
            for offer in session.offers():
                task = asyncio.create_task(decode(offer))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
            if not tasks and outcomes.empty():
                raise RuntimeError("the session is not done and offers nothing")
            offer, outcome = await outcomes.get()
            session.accept(offer, outcome)
            if on_progress is not None:
                await on_progress()
            await asyncio.sleep(0)  # other sessions' turn: accepting takes time on this loop
    except Exception:
        log.exception("a session broke")
        session.error = EngineFailure(BROKEN)
    finally:
        for task in tasks:
            task.cancel()
