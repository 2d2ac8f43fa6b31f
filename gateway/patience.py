"""How long a request may run: until its client leaves, or until its deadline."""

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
    """Ends the block with ClientGone when the client leaves. The request's body must have been read."""
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
            await asyncio.sleep(0)  # a cancellation scheduled after the block finished arrives here
    except asyncio.CancelledError:
        if gone and task.uncancel() == 0:
            raise ClientGone("the client closed the connection") from None
        raise
    finally:
        watcher.cancel()


@asynccontextmanager
async def within(seconds: float) -> AsyncIterator[None]:
    """Ends the block with DeadlineExceeded after `seconds`."""
    try:
        async with asyncio.timeout(seconds) as timeout:
            yield
    except TimeoutError:
        if not timeout.expired():
            raise
        raise DeadlineExceeded(f"the request was not finished within {seconds:g} s") from None


def deadline_s(request: Request, default: float) -> float:
    """Seconds that the caller gives this request, at most `default`; raises InvalidOption."""
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
