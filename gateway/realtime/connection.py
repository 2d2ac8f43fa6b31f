"""One WebSocket from its acceptance to its close."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from dataclasses import dataclass

from starlette.websockets import WebSocket, WebSocketDisconnect

from gateway.api_errors import ModelNotFound
from gateway.drain import Drain
from gateway.http.authentication import service_of
from gateway.observe.logs import log_event
from gateway.realtime.conversation import Conversation
from gateway.realtime.handshake import Handshake, admitted
from gateway.realtime.outbox import Outbox, SlowReader
from gateway.realtime.server_events import error_event
from gateway.realtime.violations import InvalidModel, SessionExpired
from gateway.service import Service

log = logging.getLogger(__name__)

CLOSE_S = 2.0  # for a client that does not read even the close
FINISH_S = 20.0  # for the turns of a stream that has expired


@dataclass(frozen=True, slots=True)
class Close:
    """How a stream ends. OpenAI's clients connect again after 1001, 1011, 1012 and 1013, not after 1008."""

    code: int
    reason: str = ""


GONE = Close(1005)  # the client has closed it
EXPIRED = Close(1001, "the session has expired")
SPOILT = Close(1008, "too many events that this server does not understand")
SLOW = Close(1008, "the client does not read what it is sent")
BROKEN = Close(1011, "internal error; the server's log has it")
RESTART = Close(1012, "this server is going down")


async def serve(websocket: WebSocket) -> None:
    """Answers the handshake, then the events until the stream ends; raises AsrError before the upgrade."""
    handshake = await admitted(websocket)
    service = service_of(websocket)
    with service.stream_places.take(handshake.caller), service.metrics.live.streams.track_inprogress():
        max_s = service.settings.realtime.max_stream_s
        outbox = Outbox(websocket.send_text, service.settings.server.send_timeout_s)
        conversation = await service.after_loading(lambda: _conversation(service, handshake, outbox))
        await websocket.accept(subprotocol=handshake.protocol)
        began_at = time.monotonic()
        connection = _Connection(websocket, conversation, outbox)
        close = RESTART
        try:
            close = await connection.run(service.drain, max_s)
        finally:
            record = conversation.turns.record
            record.close_code = close.code
            log_event(log, "stream", seconds=round(time.monotonic() - began_at, 3), **record.fields)
            with suppress(RuntimeError, OSError, WebSocketDisconnect):
                if close is not GONE:
                    async with asyncio.timeout(CLOSE_S):
                        await websocket.close(close.code, close.reason)


def _conversation(service: Service, handshake: Handshake, outbox: Outbox) -> Conversation:
    try:
        return Conversation(service, handshake, outbox)
    except InvalidModel as error:
        raise ModelNotFound(error.message, param="model") from None


class _Connection:
    """An accepted WebSocket at work: one task reads, one writes, and either may end it."""

    def __init__(self, websocket: WebSocket, conversation: Conversation, outbox: Outbox) -> None:
        self._websocket = websocket
        self._conversation = conversation
        self._outbox = outbox
        self._end: asyncio.Future[Close] = asyncio.get_running_loop().create_future()

    async def run(self, drain: Drain, max_s: float) -> Close:
        """How the stream has ended."""
        loop = asyncio.get_running_loop()
        expiry = loop.call_later(max_s, self._set_end, EXPIRED)

        def restart() -> None:
            loop.call_soon_threadsafe(self._set_end, RESTART)

        self._conversation.greet()
        reader = asyncio.create_task(self._read())
        writer = asyncio.create_task(self._outbox.run())
        reader.add_done_callback(self._ended)
        writer.add_done_callback(self._ended)
        try:
            with drain.when_begun(restart):
                close = await self._end
            reader.cancel()
            if close in (EXPIRED, RESTART, SPOILT):
                finishing = asyncio.create_task(self._finish(close))
                await asyncio.wait([finishing, writer], return_when=asyncio.FIRST_COMPLETED)
                finishing.cancel()  # if the client has left
            return close
        finally:
            expiry.cancel()
            self._conversation.turns.close()
            for task in (reader, writer):
                task.cancel()
            await asyncio.gather(reader, writer, return_exceptions=True)

    async def _read(self) -> Close:
        while not self._conversation.is_spoilt:
            await self._outbox.room()
            message = await self._websocket.receive()
            if message["type"] == "websocket.disconnect":
                return GONE
            await self._conversation.take(message.get("text"))
        return SPOILT

    async def _finish(self, close: Close) -> None:
        """Answers what the client has committed, and says why the stream ends."""
        with suppress(TimeoutError):
            async with asyncio.timeout(None if close is RESTART else FINISH_S):  # a drain has its deadline
                await self._conversation.turns.finish()
                if close is EXPIRED:
                    expired = SessionExpired("the session has reached its longest time")
                    self._outbox.put(error_event(expired, None))
                await self._outbox.flush()

    def _ended(self, task: asyncio.Task[Close] | asyncio.Task[None]) -> None:
        """Takes the end of the reader or the writer."""
        if task.cancelled():
            return
        error = task.exception()
        if error is None:
            result = task.result()
            self._set_end(result if isinstance(result, Close) else GONE)
        elif isinstance(error, SlowReader):
            self._set_end(SLOW)
        elif isinstance(error, WebSocketDisconnect | OSError):
            self._set_end(GONE)
        else:
            log.error("a stream broke", exc_info=error)
            self._set_end(BROKEN)

    def _set_end(self, close: Close) -> None:
        if not self._end.done():
            self._end.set_result(close)
