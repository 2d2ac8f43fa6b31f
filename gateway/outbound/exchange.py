"""One request over a connection of its own, and its answer piece by piece, bounded in bytes and time."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httptools

from gateway.outbound.outbound_errors import BadAnswer, Broken, TooLong, Unreachable
from gateway.outbound.resolver import Resolver
from gateway.outbound.target import Target

MAX_HEAD_BYTES = 64 * 1024  # the answer's headers, and any 1xx before it
PIECE_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Pace:
    """How long the other side may take."""

    connect_s: float  # name, connection and certificate
    idle_s: float  # without a byte
    total_s: float


@dataclass(frozen=True, slots=True)
class Head:
    """The answer's status and headers, names in lower case."""

    status: int
    headers: Mapping[str, str]


class Exchange:
    """An answer whose head has come."""

    def __init__(self, reader: asyncio.StreamReader, idle_s: float) -> None:
        self._reader = reader
        self._idle_s = idle_s
        self._answer = _Answer()

    async def head(self) -> Head:
        """Reads until the headers end; raises Broken or BadAnswer."""
        num_bytes = 0
        while not self._answer.has_head:
            if num_bytes > MAX_HEAD_BYTES:
                raise Broken("the answer's headers never end")
            data = await self._piece()
            if not data:
                raise Broken("the connection ended before an answer")
            num_bytes += len(data)
            self._feed(data)
        head = Head(self._answer.parser.get_status_code(), self._answer.headers)
        if head.headers.get("transfer-encoding", "chunked").lower() != "chunked":
            raise BadAnswer("the answer has a transfer encoding that was not asked for")
        return head

    async def body(self, max_bytes: int) -> AsyncIterator[bytes]:
        """The rest, as it comes; raises Broken, or TooLong beyond `max_bytes`."""
        headers = self._answer.headers
        announced = headers.get("content-length", "")
        if announced.isdecimal() and int(announced) > max_bytes:
            raise TooLong(f"the answer has more than {max_bytes} bytes")
        room = max_bytes
        framing = 0  # bytes since the last ones of the body: a chunk's head, or trailers, may be endless too
        while framing <= MAX_HEAD_BYTES:
            for piece in self._answer.take():
                framing = 0
                room -= len(piece)
                if room < 0:
                    raise TooLong(f"the answer has more than {max_bytes} bytes")
                yield piece
            if self._answer.is_complete:
                return
            data = await self._piece()
            if not data:
                if announced or "transfer-encoding" in headers:
                    raise Broken("the connection ended in the middle of the answer")
                return  # an answer without a length ends with its connection
            framing += len(data)
            self._feed(data)
        raise Broken("the answer has more framing than body")

    async def _piece(self) -> bytes:
        try:
            async with asyncio.timeout(self._idle_s):
                return await self._reader.read(PIECE_BYTES)
        except TimeoutError:
            raise Broken(f"no byte of the answer came for {self._idle_s:g} s") from None
        except OSError as error:
            raise Broken("the connection broke") from error

    def _feed(self, data: bytes) -> None:
        try:
            self._answer.parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            raise Broken("the answer is not HTTP") from error


class _Answer:
    """What the parser found."""

    def __init__(self) -> None:
        self.parser = httptools.HttpResponseParser(self)
        self.headers: dict[str, str] = {}
        self.has_head = False
        self.is_complete = False
        self._pieces: list[bytes] = []

    def take(self) -> list[bytes]:
        """The pieces of the body that have come since the last call."""
        pieces, self._pieces = self._pieces, []
        return pieces

    # ---- called by the parser

    def on_message_begin(self) -> None:
        self.headers = {}  # those of a 1xx are not the answer's

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.has_head:  # others are trailers
            self.headers[name.decode("latin-1").lower()] = value.decode("latin-1").strip()

    def on_headers_complete(self) -> None:
        self.has_head = self.parser.get_status_code() >= 200

    def on_body(self, piece: bytes) -> None:
        self._pieces.append(piece)

    def on_message_complete(self) -> None:
        self.is_complete = self.has_head


@asynccontextmanager
async def exchange_with(
    target: Target, resolver: Resolver, request: bytes, tls: ssl.SSLContext, pace: Pace
) -> AsyncIterator[Exchange]:
    """The exchange, once the request is sent; raises RefusedUrl, Unreachable or Broken. The connection goes
    to an address that was checked and to no other, and the certificate must be the host's."""
    reader, writer = await _connect(target, resolver, tls, pace.connect_s)
    try:
        try:
            async with asyncio.timeout(pace.idle_s):
                writer.write(request)
                await writer.drain()
        except OSError as error:  # TimeoutError is one
            raise Broken("the connection broke") from error
        yield Exchange(reader, pace.idle_s)
    finally:
        writer.transport.abort()


async def _connect(
    target: Target, resolver: Resolver, tls: ssl.SSLContext, connect_s: float
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    name = target.host.removesuffix(".") if target.tls else None
    why: OSError | None = None
    try:
        async with asyncio.timeout(connect_s):
            for address in await resolver.addresses(target.host):
                try:
                    return await asyncio.open_connection(
                        str(address), target.port, ssl=tls if target.tls else None, server_hostname=name
                    )
                except ssl.SSLError as error:
                    raise Unreachable(f"the TLS of {target.host} does not fit: {_reason(error)}") from error
                except OSError as error:
                    why = error
    except TimeoutError:
        raise Unreachable(f"{target.host} took no connection within {connect_s:g} s") from None
    raise Unreachable(f"{target.host} took no connection") from why


def _reason(error: ssl.SSLError) -> str:
    return getattr(error, "verify_message", None) or error.reason or "no handshake"
