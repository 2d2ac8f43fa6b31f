"""Going down without losing a request: nothing new is taken, what runs is finished."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.api_errors import NotReady
from gateway.http.failures import error_response
from gateway.observe.record import current_record

ALWAYS_ANSWERED = ("/health/", "/metrics")
GRACE_S = 2.0  # for the answers of what was cut short

CLOSE = (b"connection", b"close")


class Drain:
    """Which requests run, and whether new ones are still taken."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._ends_at = math.inf
        self._tasks: set[asyncio.Task[Any]] = set()
        self.draining = False
        self.expired = False

    @property
    def running(self) -> int:
        return len(self._tasks)

    def begin(self, seconds: float) -> None:
        """From now on new requests are refused; called again, it ends those that run sooner or later."""
        self.draining = True
        self._ends_at = self._clock() + seconds

    def finished(self) -> bool:
        """Whether nothing runs any more. Past its time, what still runs is cancelled first."""
        if not self._tasks or self._clock() >= self._ends_at + GRACE_S:
            return True
        if self._clock() >= self._ends_at and not self.expired:
            self.expired = True
            for task in self._tasks:
                task.cancel()
        return False

    def enter(self, task: asyncio.Task[Any]) -> None:
        self._tasks.add(task)

    def leave(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)


class DrainGate:
    """Lets requests in while the server is not draining; a request that drains away is answered 503."""

    def __init__(self, app: ASGIApp, drain: Drain) -> None:
        self._app = app
        self._drain = drain

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith(ALWAYS_ANSWERED):
            await self._app(scope, receive, send)
            return
        started = False

        async def closing(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                if self._drain.draining:
                    message = {**message, "headers": [*message.get("headers", ()), CLOSE]}
            await send(message)

        if self._drain.draining:
            await _refuse(scope, receive, closing)
            return
        task = asyncio.current_task()
        assert task is not None
        self._drain.enter(task)
        try:
            await self._app(scope, receive, closing)
        except asyncio.CancelledError:
            if not self._drain.expired:
                raise
            task.uncancel()
            if not started:
                await _refuse(scope, receive, closing)
        finally:
            self._drain.leave(task)


async def _refuse(scope: Scope, receive: Receive, send: Send) -> None:
    error = NotReady("this server is going down; try again")
    current_record().failed(error)
    await error_response(error)(scope, receive, send)
