"""OpenAI's Realtime transcription: /v1/realtime and its client secrets."""

from __future__ import annotations

import time
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.websockets import WebSocket

from gateway.http.authentication import AdmittedCaller, service_of
from gateway.http.small_json import small_json
from gateway.openapi import documents, examples
from gateway.openapi.schemas import ClientSecret, ClientSecretRequest
from gateway.realtime import connection
from gateway.realtime.dialects import Stream, shown, stated
from gateway.realtime.server_events import new_id
from gateway.realtime.session_config import effective
from gateway.realtime.transcription_request import model_request

PATH = "/v1/realtime"  # of the WebSocket

router = APIRouter(prefix=PATH, tags=["realtime"])


@router.websocket("")
async def realtime(websocket: WebSocket) -> None:
    """Audio in, its turns and their text out."""
    await connection.serve(websocket)


@router.post(
    "/client_secrets",
    responses=documents.errors(400, 401, 413, 429, 503)
    | documents.json_response("the secret", examples.CLIENT_SECRET),
    openapi_extra=documents.json_body(ClientSecretRequest),
)
async def create_client_secret(request: Request, caller: AdmittedCaller) -> ClientSecret:
    """A key for a browser, good for streams of this configuration until it expires."""
    service = service_of(request)
    asked = await small_json(request, ClientSecretRequest)
    session: dict[str, Any] = asked.session or {}
    default = await service.after_loading(lambda: service.model(None, caller))
    config = effective(stated(session), default.spec.name)
    await service.after_loading(lambda: model_request(config, service, caller))
    value, secret = service.client_secrets.issue(caller, session, asked.expires_after.seconds)
    stream = Stream(new_id("sess"), int(time.time() + service.settings.realtime.max_stream_s))
    return ClientSecret(value=value, expires_at=secret.expires_at, session=shown(config, stream, "current"))
