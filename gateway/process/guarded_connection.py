"""One client's connection: uvicorn's, with limits.

uvicorn waits for ever for a request's headers, accepts any number of them, and keeps a connection whose
client does not read its answer. Hostile clients exploit all three. It also loses the body of a request that
offers another protocol, as Java's client does with HTTP/2. Only a WebSocket at its path is handed on, to
`guarded_socket.py`.
"""

from __future__ import annotations

import json
from asyncio import Transport
from asyncio.events import TimerHandle
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from httptools import HttpParserError, HttpParserUpgrade
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from asr.errors import AsrError, InvalidOption, Overloaded
from gateway.api_errors import headers_of
from gateway.settings import ServerSettings

MAX_HEADER_BYTES = 65_536  # a request's head, or a chunked body's trailers
MAX_PIPELINED = 16  # requests that one client may send before it has read an answer


class MalformedRequest(InvalidOption):
    code = "malformed_request"


class HeadersTooLarge(InvalidOption):
    status = 431
    code = "headers_too_large"


class HeadersTooSlow(InvalidOption):
    status = 408
    code = "headers_too_slow"


class TooManyConnections(Overloaded):
    code = "too_many_connections"


@dataclass(frozen=True, slots=True)
class Refusals:
    """Counts refused requests by error code."""

    count: Callable[[str], None]


class GuardedConnection(HttpToolsProtocol):
    """Bounds the cost of a connection outside its requests. `guarded` makes the class."""

    settings: ClassVar[ServerSettings]
    refusals: ClassVar[Refusals]
    socket_path: ClassVar[bytes]

    _unparsed = 0  # bytes since the parser last completed something
    _restated = b""  # the head of a request, without its offer of another protocol
    _headers_due: TimerHandle | None = None
    _reading_due: TimerHandle | None = None
    _running: RequestResponseCycle | None = None
    _is_handed_on = False  # to the protocol of WebSockets

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self.settings.max_connections:
            self._refuse(TooManyConnections("too many connections; try again"))
        else:
            self._await_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting_for_headers()
        self._stop_waiting_for_reader()
        super().connection_lost(exc)
        if self._running is not None:  # uvicorn informs the newest request, not the running one
            self._running.disconnected = True
            self._running.message_event.set()

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        self._unset_keepalive_if_required()
        self._unparsed += len(data)
        self._parse(data)
        if self.transport.is_closing() or self._is_handed_on:
            return
        if self._unparsed > MAX_HEADER_BYTES:
            self._refuse(HeadersTooLarge(f"the headers are larger than {MAX_HEADER_BYTES} bytes"))
        elif self._headers_due is None and self._is_idle():
            self._await_headers()

    def _parse(self, data: bytes) -> None:
        """Feeds the parser as uvicorn does, but ignores other offers to change the protocol (RFC 9110, 7.8).
        The parser stops behind such a head and would take a body for the next request, so it gets the head
        once more, without the offer."""
        while data:
            try:
                self.parser.feed_data(data)
                return
            except HttpParserUpgrade as stopped:
                if self._should_upgrade():
                    self._is_handed_on = True
                    self.handle_websocket_upgrade()
                    return
                data, self._restated = self._restated + data[stopped.args[0] :], b""
            except HttpParserError:
                self.send_400_response("")
                return

    def _should_upgrade(self) -> bool:
        return self.url.partition(b"?")[0] == self.socket_path and super()._should_upgrade()

    def on_headers_complete(self) -> None:
        self._unparsed = 0
        self._stop_waiting_for_headers()
        is_offer = self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT"
        if is_offer and not self._should_upgrade():
            self._restated = self._head_without_offer()
            return
        if len(self.pipeline) >= MAX_PIPELINED:
            raise ValueError("too many pipelined requests")  # the parser stops here, as at bad syntax
        super().on_headers_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def on_body(self, body: bytes) -> None:
        self._unparsed = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._unparsed = 0
        if not self._restated:
            super().on_message_complete()

    def _head_without_offer(self) -> bytes:
        version = self.parser.get_http_version().encode()
        first = b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, version)
        others = [b"%b: %b" % header for header in self.headers if header[0] != b"upgrade"]
        return b"\r\n".join([first, *others, b"", b""])

    def send_400_response(self, msg: str) -> None:
        self._refuse(MalformedRequest("this is not HTTP as a server can read it"))

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.transport.is_closing():
            self._await_reader()

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self._await_reader()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._await_reader()

    def resume_writing(self) -> None:
        super().resume_writing()
        if not self.transport.is_closing():
            self._stop_waiting_for_reader()

    def _is_idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _await_headers(self) -> None:
        """Starts the client's time for its headers. Sending a part of them does not extend it."""
        self._headers_due = self.loop.call_later(self.settings.header_timeout_s, self._headers_overdue)

    def _await_reader(self) -> None:
        """Aborts the connection after a while: even a closed one stays open until the client has read its
        bytes."""
        if self._reading_due is None:
            self._reading_due = self.loop.call_later(self.settings.send_timeout_s, self.transport.abort)

    def _stop_waiting_for_headers(self) -> None:
        if self._headers_due is not None:
            self._headers_due.cancel()
            self._headers_due = None

    def _stop_waiting_for_reader(self) -> None:
        if self._reading_due is not None:
            self._reading_due.cancel()
            self._reading_due = None

    def _headers_overdue(self) -> None:
        self._headers_due = None
        self._refuse(HeadersTooSlow(f"no complete request in {self.settings.header_timeout_s:g} s"))

    def _refuse(self, error: AsrError) -> None:
        """Answers, unless another answer has begun, and closes the connection."""
        self.refusals.count(error.code)
        if self._is_idle() or not self.cycle.response_started:
            self.transport.write(answer_bytes(error))
        self.transport.close()
        self._await_reader()


def guarded(
    settings: ServerSettings, count_refusal: Callable[[str], None], socket_path: str
) -> type[GuardedConnection]:
    """The class for `uvicorn.Config(http=…)`; `count_refusal` gets the error code of each refusal, and
    WebSockets are at `socket_path` alone."""
    own = {"settings": settings, "refusals": Refusals(count_refusal), "socket_path": socket_path.encode()}
    return type("Connection", (GuardedConnection,), own)


def answer_bytes(error: AsrError) -> bytes:
    """An answer that closes the connection."""
    body = json.dumps(error.body()).encode()
    headers = headers_of(error) | {
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "Connection": "close",
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return STATUS_LINE[error.status] + head.encode() + b"\r\n" + body
