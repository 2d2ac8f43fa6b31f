"""Any exception → OpenAI's error body with its status."""

from __future__ import annotations

import json
import logging

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from asr.errors import AsrError, EngineFailure, InvalidOption, TooLarge
from gateway.api_errors import ClientGone, MethodNotAllowed, NotFound, headers_of
from gateway.observe.record import current_record

log = logging.getLogger(__name__)


def error_response(error: AsrError) -> Response:
    """The error as an answer; writes it to the request's record too."""
    current_record().failed(error)
    body = json.dumps(error.body(), ensure_ascii=False).encode("utf-8", "replace")
    return Response(body, error.status, headers=headers_of(error), media_type="application/json")


def internal_error() -> EngineFailure:
    """The public error for a failure whose details are in the log alone."""
    return EngineFailure("internal error; the server's log has it under this request's X-Request-ID")


def install(app: FastAPI) -> None:
    """Installs handlers for everything that a route or the router raises."""
    app.add_exception_handler(AsrError, _asr_error)
    app.add_exception_handler(HTTPException, _http_exception)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(ClientDisconnect, _client_gone)


async def _asr_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, AsrError)
    return error_response(error)


async def _client_gone(_request: Request, _error: Exception) -> Response:
    return error_response(ClientGone("the client closed the connection"))


async def _http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    response = error_response(_translated(request, error))
    response.headers.update(error.headers or {})
    return response


def _translated(request: Request, error: HTTPException) -> AsrError:
    what = f"{request.method} {request.url.path[:200]}"
    if error.status_code == 404:
        return NotFound(f"there is nothing at {what}; /docs lists what there is")
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "another method")
        return MethodNotAllowed(f"{what} is not possible here, only {allowed}")
    if error.status_code == 413:
        return TooLarge("the request's body is larger than this server takes")
    if error.status_code < 500:
        return InvalidOption(str(error.detail))
    return internal_error()


async def _validation_error(request: Request, error: Exception) -> Response:
    """Answers a missing path or query parameter, or one of the wrong type."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    param = ".".join(str(part) for part in first["loc"][1:])[:80]
    if first["type"] == "extra_forbidden":
        message = f"{param!r} is no parameter of {request.url.path}; /docs lists them"
    else:
        right = first["msg"].removeprefix("Input should be ")
        message = f"{param} is {str(first.get('input'))[:80]!r}, must be {right}"
    return error_response(InvalidOption(message, param=param))


class CatchAll:
    """Wraps all routes: a bug is logged once and answered with a 500 in OpenAI's shape, to which the outer
    middlewares add their headers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except Exception as error:
            if started:
                raise
            if not isinstance(error, AsrError | ClientDisconnect):
                log.exception("%s %s failed", scope["method"], scope["path"])
                error = internal_error()
            elif isinstance(error, ClientDisconnect):
                error = ClientGone("the client closed the connection")
            await error_response(error)(scope, receive, send)
