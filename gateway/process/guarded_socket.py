"""One client's WebSocket: uvicorn's, with limits.

uvicorn closes one whose client does not answer pings, but waits for ever to be rid of the bytes that the
client does not read, and after a handshake that it cannot parse.
"""

from __future__ import annotations

from asyncio.events import TimerHandle
from typing import ClassVar

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from gateway.process.guarded_connection import HeadersTooLarge, answer_bytes
from gateway.settings import ServerSettings


class GuardedSocket(WebSocketsSansIOProtocol):
    """Bounds the cost of a client that does not read. `guarded_socket` makes the class."""

    settings: ClassVar[ServerSettings]

    _reading_due: TimerHandle | None = None

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._reading_due is None:
            self._reading_due = self.loop.call_later(self.settings.send_timeout_s, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stop_waiting_for_reader()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting_for_reader()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.handshake_exc is not None and not self.handshake_initiated:
            self.transport.write(answer_bytes(HeadersTooLarge(str(self.conn.handshake_exc))))
            self.transport.close()

    def _stop_waiting_for_reader(self) -> None:
        if self._reading_due is not None:
            self._reading_due.cancel()
            self._reading_due = None


def guarded_socket(settings: ServerSettings) -> type[GuardedSocket]:
    """The class for `uvicorn.Config(ws=…)`."""
    return type("Socket", (GuardedSocket,), {"settings": settings})
