"""What a client may still do while its request is at work: leave, or run out of patience."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.requests import Request
from starlette.types import Receive

from asr.errors import InvalidOption
from gateway.api_errors import ClientGone, DeadlineExceeded

DEADLINE_HEADER = "X-Request-Deadline"


@asynccontextmanager
async def while_connected(receive: Receive) -> AsyncIterator[None]:
    """The block, ended with ClientGone when the client leaves. The request's body must have been read."""
    task = asyncio.current_task()
    assert task is not None
    gone = False

    async def watch() -> None:
        nonlocal gone
        while (await receive())["type"] != "http.disconnect":
            pass
        gone = True
        task.cancel()

    watcher = asyncio.create_task(watch())
    try:
        yield
        if gone:
            await asyncio.sleep(0)  # where the cancellation arrives that came too late for the block
    except asyncio.CancelledError:
        if gone and task.uncancel() == 0:
            raise ClientGone("the client closed the connection") from None
        raise
    finally:
        watcher.cancel()


@asynccontextmanager
async def within(seconds: float) -> AsyncIterator[None]:
    """The block, ended with DeadlineExceeded after so many seconds."""
    try:
        async with asyncio.timeout(seconds) as timeout:
            yield
    except TimeoutError:
        if not timeout.expired():
            raise
        raise DeadlineExceeded(f"the request was not finished within {seconds:g} s") from None


def deadline_s(request: Request, default: float) -> float:
    """Seconds the caller gives this request; raises InvalidOption."""
    text = request.headers.get(DEADLINE_HEADER)
    if text is None:
        return default
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise InvalidOption(
            f"{DEADLINE_HEADER} is {text[:80]!r}, must be seconds above 0", param=DEADLINE_HEADER
        )
    return min(seconds, default)
