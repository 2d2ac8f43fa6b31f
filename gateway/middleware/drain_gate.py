"""The entrance while the server drains: new requests are answered 503, and so are cancelled ones."""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.api_errors import NotReady
from gateway.drain import Drain
from gateway.http.failures import error_response
from gateway.observe.record import current_record

ALWAYS_ANSWERED = ("/health/", "/metrics")
CLOSE = (b"connection", b"close")


class DrainGate:
    """Registers each request with the drain, and refuses new ones once it has begun."""

    def __init__(self, app: ASGIApp, drain: Drain) -> None:
        self._app = app
        self._drain = drain

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket") or scope["path"].startswith(ALWAYS_ANSWERED):
            await self._app(scope, receive, send)
            return
        started = False

        async def closing(message: Message) -> None:
            nonlocal started
            if message["type"] in ("http.response.start", "websocket.accept"):
                started = True
                if self._drain.draining and scope["type"] == "http":
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
