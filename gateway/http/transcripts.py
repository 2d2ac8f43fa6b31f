"""A run → the answer to its request: the transcript as a whole, or as server-sent events while it is made."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from asr.errors import AsrError
from asr.render.events import EventStream
from asr.render.formats import render, sse_error
from asr.request.options import RequestOptions
from gateway.api_errors import ClientGone
from gateway.http.failures import internal_error
from gateway.observe.record import current_record
from gateway.patience import while_connected
from gateway.run import Run
from gateway.service import off_loop

log = logging.getLogger(__name__)


async def transcript_response(run: Run, options: RequestOptions) -> Response:
    """The transcript of a finished run, in the format that the options name."""
    with current_record().stage("render"):
        audio_s = run.prepared.audio.duration_s
        body, content_type = await off_loop(audio_s, render, run.transcript, options)
    return Response(body, headers={"Content-Type": content_type})


async def transcript_events(
    upload: AsyncExitStack, running: AbstractAsyncContextManager[Run], options: RequestOptions
) -> AsyncGenerator[bytes]:
    """The events of a run; the upload stays until they have been sent."""
    async with upload, running as run:
        async for events in _events(run, options):
            yield events


async def _events(run: Run, options: RequestOptions) -> AsyncGenerator[bytes]:
    """Events while segments finish, then the done event."""
    ready: list[bytes] = []
    stream = EventStream(options, ready.append)
    is_running = True
    while is_running:
        is_running = await run.advance()
        stream.advance(run.session)
        if ready:
            yield b"".join(ready)
            ready.clear()


class LiveEvents(Response):
    """Sends events as they arise. The status goes out with the first event: before it, a failed request is
    answered with its error, after it with an error event."""

    media_type = "text/event-stream"

    def __init__(self, events: AsyncGenerator[bytes]) -> None:
        super().__init__(headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._events = events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False
        try:
            async with aclosing(self._events) as events, while_connected(receive):
                async for chunk in events:
                    if not started:
                        started = True
                        await self._start(send)
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
        except Exception as error:
            if not started:
                raise
            await send({"type": "http.response.body", "body": _closing_event(error), "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _start(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})


def _closing_event(error: Exception) -> bytes:
    """The error event that ends a stream; empty if the client has left."""
    if not isinstance(error, AsrError):
        log.error("a stream broke", exc_info=error)
        error = internal_error()
    record = current_record()
    record.failed(error)
    record.status = error.status  # for the log; the client got 200
    return b"" if isinstance(error, ClientGone) else sse_error(error)
