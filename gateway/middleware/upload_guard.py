"""What receiving a body may cost: how many at once, how big, how slow."""

from __future__ import annotations

import asyncio
import time

from prometheus_client import Gauge
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from asr.errors import AsrError, TooLarge
from gateway.errors import RateLimited, UploadTimeout
from gateway.http.failures import error_response
from gateway.http.forms import FORM_ROOM
from gateway.observe.record import current_record
from gateway.settings import MediaSettings

BUSY_RETRY_S = 5.0
LINGER_S = 2.0  # for a client to read a refusal while it still sends


class TooManyUploads(RateLimited):
    code = "too_many_uploads"


class UploadGuard:
    """Watches bodies as the application reads them, and keeps none of their bytes.

    More than `max_uploads` at once: 429. A Content-Length over the cap: 413 before a byte is read; a chunked
    body over it: 413 in the middle. No byte for `upload_idle_s`, or slower than `min_upload_bytes_per_s` on
    average: 408. What happens in the middle is raised from `receive`, so that the application cleans up. Only
    the time that the application waits for bytes counts against the client.
    """

    def __init__(self, app: ASGIApp, *, settings: MediaSettings, uploads: Gauge) -> None:
        self._app = app
        self._settings = settings
        self._uploads = uploads
        self._receiving = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not _has_body(headers := Headers(scope=scope)):
            await self._app(scope, receive, send)
            return
        body = _Body(self, self._settings, receive, send, headers)
        try:
            self._take_place(body, headers)
            await self._app(scope, body.receive, body.send)
        except AsrError as error:
            if body.answered:
                raise
            current_record().failed(error)
            await error_response(error)(scope, receive, body.send)
        finally:
            self.release(body)

    def release(self, body: _Body) -> None:
        """Gives the body's place to the next one; a second time it does nothing."""
        if body.has_place:
            body.has_place = False
            self._receiving -= 1
            self._uploads.dec()

    def _take_place(self, body: _Body, headers: Headers) -> None:
        body.check_size(int(headers.get("Content-Length", "0")))
        if self._receiving >= self._settings.max_uploads:
            raise TooManyUploads(
                f"{self._receiving} uploads are being received already; try again in {BUSY_RETRY_S:g} s",
                retry_after_s=BUSY_RETRY_S,
            )
        body.has_place = True
        self._receiving += 1
        self._uploads.inc()


class _Body:
    """One body on its way in."""

    def __init__(
        self, guard: UploadGuard, settings: MediaSettings, receive: Receive, send: Send, headers: Headers
    ) -> None:
        self._guard = guard
        self._settings = settings
        self._receive = receive
        self._send = send
        self._awaits_consent = headers.get("Expect", "").lower() == "100-continue"
        self._bytes = 0
        self._waited_s = 0.0
        self._complete = False
        self._closing = False
        self.answered = False
        self.has_place = False

    def check_size(self, size: int) -> None:
        most = self._settings.max_upload_bytes
        if size > most + FORM_ROOM:
            raise TooLarge(f"the request is larger than an upload may be, {most} bytes", param="file")

    async def receive(self) -> Message:
        if self._complete:  # only the client's leaving is still to come
            return await self._receive()
        self._awaits_consent = False  # the server gives it with this call
        message = await self._within_patience()
        if message["type"] == "http.request":
            self._bytes += len(message.get("body", b""))
            self.check_size(self._bytes)
            self._check_speed()
        if not message.get("more_body", False):
            self._complete = True
            self._guard.release(self)
        return message

    async def send(self, message: Message) -> None:
        """An answer that comes before the whole body closes the connection, but not before the client could
        read it: closed with unread bytes, TCP would throw the answer away with them."""
        if message["type"] == "http.response.start":
            self.answered = True
            if not self._complete:
                self._closing = True
                message = {**message, "headers": [*message.get("headers", ()), (b"connection", b"close")]}
        elif self._closing and not message.get("more_body", False):
            await self._send({**message, "more_body": True})
            await self._linger()
            message = {"type": "http.response.body", "body": b""}
        await self._send(message)

    async def _within_patience(self) -> Message:
        idle_s = self._settings.upload_idle_s
        waits_since = time.monotonic()
        try:
            async with asyncio.timeout(idle_s):
                return await self._receive()
        except TimeoutError:
            raise UploadTimeout(f"no byte of the request's body came for {idle_s:g} s") from None
        finally:
            self._waited_s += time.monotonic() - waits_since

    def _check_speed(self) -> None:
        slowest = self._settings.min_upload_bytes_per_s
        if self._waited_s > self._settings.upload_idle_s and self._bytes < slowest * self._waited_s:
            raise UploadTimeout(f"the request's body came slower than {slowest:g} bytes per second")

    async def _linger(self) -> None:
        if self._awaits_consent:
            return  # it got the answer instead, and sends nothing
        try:
            async with asyncio.timeout(min(LINGER_S, self._settings.upload_idle_s)):
                while (await self._receive()).get("more_body", False):
                    pass
        except TimeoutError:
            pass


def _has_body(headers: Headers) -> bool:
    return "Transfer-Encoding" in headers or headers.get("Content-Length", "0") != "0"
