"""One request's id, log line and metrics; a WebSocket is one request."""

from __future__ import annotations

import re
import uuid
from contextlib import AbstractContextManager, nullcontext

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.observe.logs import log_request
from gateway.observe.metrics import SWITCHING_PROTOCOLS, Metrics
from gateway.observe.record import RequestRecord, recorded
from gateway.observe.tracing import describe_span

ID_HEADER = "X-Request-ID"
MODEL_HEADER = "X-Model"  # the model that answered
ID_FORM = re.compile(r"[A-Za-z0-9._-]{1,128}")  # safe in a header, a log line and a file name
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
GONE = 499  # the client left before its answer


class RequestContext:
    """The outermost middleware: it sees what the client gets.

    A client's X-Request-ID is kept if its form is harmless; otherwise the request gets a new one. Either is
    in the answer.
    """

    def __init__(self, app: ASGIApp, *, metrics: Metrics, log_text: bool = False) -> None:
        self._app = app
        self._metrics = metrics
        self._log_text = log_text

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        record = _record(scope)

        async def watched(message: Message) -> None:
            if message["type"] == "websocket.accept":
                record.status = SWITCHING_PROTOCOLS
                message.setdefault("headers", [])
                MutableHeaders(scope=message)[ID_HEADER] = record.id
            elif message["type"] in ("http.response.start", "websocket.http.response.start"):
                headers = MutableHeaders(scope=message)
                headers[ID_HEADER] = record.id
                if record.model is not None:
                    headers[MODEL_HEADER] = record.model
                record.status = message["status"]
                record.streamed = headers.get("Content-Type", "").startswith("text/event-stream")
            elif record.streamed and record.first_event_s is None and message.get("body"):
                record.first_event_s = record.elapsed_s()
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                describe_span(record)  # the span ends with the last byte
            await send(message)

        with recorded(record), self._running(scope):
            try:
                await self._app(scope, receive, watched)
            finally:
                self._end(record, scope)

    def _running(self, scope: Scope) -> AbstractContextManager[None]:
        """Counts a request that runs; streams have a count of their own."""
        return self._metrics.running.track_inprogress() if scope["type"] == "http" else nullcontext()

    def _end(self, record: RequestRecord, scope: Scope) -> None:
        record.seconds = record.elapsed_s()
        record.route = route_of(scope)
        record.status = record.status or GONE
        self._metrics.observe(record)
        log_request(record, self._log_text)


def route_of(scope: Scope) -> str:
    """The template of the route that answered; "other" for unknown paths."""
    route = scope.get("route")
    path: str = getattr(route, "path_format", None) or getattr(route, "path", None) or "other"
    return path


def _record(scope: Scope) -> RequestRecord:
    client_id = Headers(scope=scope).get(ID_HEADER, "")
    client = scope.get("client")
    method = scope.get("method", "GET")  # a WebSocket begins as one
    return RequestRecord(
        id=client_id if ID_FORM.fullmatch(client_id) else uuid.uuid4().hex,
        method=method if method in METHODS else "other",
        address=client[0] if client else "",
    )
