"""Limits on receiving bodies: how many at once and per key, how large, how slow."""

from __future__ import annotations

import asyncio
import time

from prometheus_client import Gauge
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from asr.errors import AsrError, TooLarge
from gateway.api_errors import RateLimited, TooManyWrongKeys, UploadTimeout
from gateway.caller import LOCAL
from gateway.http.failures import error_response
from gateway.http.forms import FORM_ROOM
from gateway.observe.record import current_record
from gateway.settings import MediaSettings

BUSY_RETRY_S = 5.0
LINGER_S = 2.0  # for a client that still sends to read the refusal


class TooManyUploads(RateLimited):
    code = "too_many_uploads"


class UploadGuard:
    """Watches bodies while the application reads them, and keeps none of their bytes.

    A body takes a place when the application begins to read it, after it has identified the caller. It gives
    the place back with its last byte or with the first byte of the answer, so a caller without a key never
    holds one. Answers:

    - 429: more than `max_uploads` at once, or `max_uploads_per_key` of one key
    - 413: over the cap, before a byte is read if Content-Length says so, otherwise in the middle
    - 408: no byte for `upload_idle_s`, slower than `min_upload_bytes_per_s` on average, or longer than
      `max_upload_s`; only the time that the application waits for bytes counts against the client

    Except for the announced length, `receive` raises the error, so that the application cleans up.
    """

    def __init__(self, app: ASGIApp, *, settings: MediaSettings, uploads: Gauge) -> None:
        self._app = app
        self._settings = settings
        self._uploads = uploads
        self._places: dict[_Body, str] = {}  # body → name of its caller

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not _has_body(headers := Headers(scope=scope)):
            await self._app(scope, receive, send)
            return
        body = _Body(self, self._settings, receive, send, headers)
        try:
            body.check_size(int(headers.get("Content-Length", "0")))
            await self._app(scope, body.receive, body.send)
        except AsrError as error:
            if body.answered:
                raise
            current_record().failed(error)
            await error_response(error)(scope, receive, body.send)
        finally:
            self.release(body)

    def take_place(self, body: _Body) -> None:
        """Gives the body a place unless it has one; raises TooManyUploads."""
        if body in self._places:
            return
        caller = current_record().caller
        if len(self._places) >= self._settings.max_uploads:
            raise _busy(f"{len(self._places)} uploads are being received already")
        its_own = sum(name == caller for name in self._places.values())
        if caller not in ("", LOCAL.name) and its_own >= self._settings.max_uploads_per_key:
            raise _busy(f"{its_own} uploads of this key are being received already")
        self._places[body] = caller
        self._uploads.set(len(self._places))

    def release(self, body: _Body) -> None:
        """Frees the body's place; a second call does nothing."""
        self._places.pop(body, None)
        self._uploads.set(len(self._places))


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

    def check_size(self, size: int) -> None:
        most = self._settings.max_upload_bytes
        if size > most + FORM_ROOM:
            raise TooLarge(f"the request is larger than an upload may be, {most} bytes", param="file")

    async def receive(self) -> Message:
        if self._complete:  # the next message is the client's disconnect
            return await self._receive()
        if not self.answered:
            self._guard.take_place(self)
        self._awaits_consent = False  # uvicorn sends 100 Continue on the first receive()
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
        """Sends the answer. One that comes before the whole body closes the connection, but only after the
        client could read it: TCP drops the answer if a connection closes with unread bytes."""
        if message["type"] == "http.response.start":
            self.answered = True
            self._guard.release(self)
            if not self._complete:
                self._closing = True
                message = {**message, "headers": [*message.get("headers", ()), (b"connection", b"close")]}
        elif self._closing and not message.get("more_body", False):
            await self._send({**message, "more_body": True})
            await self._linger()
            message = {"type": "http.response.body", "body": b""}
        await self._send(message)

    async def _within_patience(self) -> Message:
        idle_s, max_s = self._settings.upload_idle_s, self._settings.max_upload_s
        waits_since = time.monotonic()
        try:
            async with asyncio.timeout(min(idle_s, max_s - self._waited_s)):
                return await self._receive()
        except TimeoutError:
            if idle_s > max_s - self._waited_s:
                raise UploadTimeout(f"the request's body took longer than {max_s:g} s") from None
            raise UploadTimeout(f"no byte of the request's body came for {idle_s:g} s") from None
        finally:
            self._waited_s += time.monotonic() - waits_since

    def _check_speed(self) -> None:
        slowest = self._settings.min_upload_bytes_per_s
        if self._waited_s > self._settings.upload_idle_s and self._bytes < slowest * self._waited_s:
            raise UploadTimeout(f"the request's body came slower than {slowest:g} bytes per second")

    async def _linger(self) -> None:
        if self._awaits_consent:
            return  # the client waits for 100 Continue and sends nothing
        if current_record().error_code == TooManyWrongKeys.code:
            return  # it has had this answer often enough
        try:
            async with asyncio.timeout(min(LINGER_S, self._settings.upload_idle_s)):
                while (await self._receive()).get("more_body", False):
                    pass
        except TimeoutError:
            pass


def _busy(why: str) -> TooManyUploads:
    return TooManyUploads(f"{why}; try again in {BUSY_RETRY_S:g} s", retry_after_s=BUSY_RETRY_S)


def _has_body(headers: Headers) -> bool:
    return "Transfer-Encoding" in headers or headers.get("Content-Length", "0") != "0"
