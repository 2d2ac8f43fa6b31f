"""What a client says before its first event: its key, its dialect, the model it means.

Everything is refused here with an HTTP status and the usual error body, before the upgrade.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from starlette.websockets import WebSocket

from asr.errors import InvalidOption
from gateway.access.client_secrets import PREFIX as SECRET_PREFIX
from gateway.api_errors import GatewayError
from gateway.caller import Caller
from gateway.http.authentication import authenticated, service_of
from gateway.observe.record import current_record
from gateway.realtime.dialects import BETA_PROTOCOL

PROTOCOL = "realtime"
KEY_PROTOCOL = "openai-insecure-api-key."
BETA_HEADER, BETA = "OpenAI-Beta", "realtime=v1"


class ForeignPage(GatewayError):
    """A page of another host calls a server that asks for no key."""

    status = 403
    type = "invalid_request_error"
    code = "foreign_origin"


@dataclass(frozen=True, slots=True)
class Handshake:
    """Who opens a stream, and how."""

    caller: Caller
    session: Mapping[str, Any]  # of a client secret: how the stream is configured at first
    protocol: str | None  # the subprotocol to select
    model: str | None
    is_beta: bool
    is_transcription: bool


async def admitted(websocket: WebSocket) -> Handshake:
    """The handshake of a client that may open a stream; raises GatewayError and InvalidOption."""
    service = service_of(websocket)
    offered: list[str] = websocket.scope.get("subprotocols", [])
    caller, session = _caller(websocket, offered)
    _check_origin(websocket)
    await service.limiter.check_request(caller)
    _ = service.fleet.default  # raises NotReady
    query = websocket.query_params
    if "call_id" in query:
        raise InvalidOption("call_id: this server takes no calls", param="call_id")
    return Handshake(
        caller=caller,
        session=session,
        protocol=PROTOCOL if PROTOCOL in offered else None,
        model=query.get("model") or None,
        is_beta=BETA in websocket.headers.get(BETA_HEADER, "") or BETA_PROTOCOL in offered,
        is_transcription=query.get("intent") == "transcription",
    )


def _caller(websocket: WebSocket, offered: list[str]) -> tuple[Caller, Mapping[str, Any]]:
    """The caller by its key, in the header or in a subprotocol; the session that a client secret brings."""
    key = next((name.removeprefix(KEY_PROTOCOL) for name in offered if name.startswith(KEY_PROTOCOL)), None)
    authorization = websocket.headers.get("Authorization") or (key and f"Bearer {key}")
    bearer = (authorization or "").partition(" ")[2].strip()
    if bearer.startswith(SECRET_PREFIX):
        secret = service_of(websocket).client_secrets.opened_by(bearer)
        current_record().caller = secret.caller.name
        return secret.caller, secret.session
    return authenticated(websocket, authorization), {}


def _check_origin(websocket: WebSocket) -> None:
    """Raises ForeignPage: browsers let any page open a WebSocket, so where no key is asked for, the page must
    be of this host or of `server.cors_origins`."""
    service = service_of(websocket)
    origin = websocket.headers.get("Origin")
    if origin is None or service.keys.configured:
        return
    allowed = service.settings.server.cors_origins
    if urlsplit(origin).netloc != websocket.headers.get("Host") and not {"*", origin} & set(allowed):
        raise ForeignPage("a page of another host opens no stream here without a key", param="Origin")
