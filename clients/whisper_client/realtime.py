"""A connection to `GET /v1/realtime`: its address, its handshake, and what is wrong with it in one line."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from urllib.parse import urlsplit, urlunsplit

from websockets.exceptions import InvalidHandshake, InvalidStatus, InvalidURI
from websockets.sync.client import ClientConnection, connect

from whisper_client.client import OPENAI_PATHS, openai_url, refusal_message
from whisper_client.errors import (
    BadArgument,
    ClientError,
    NoServer,
    ServerRefused,
    ServerTimeout,
    ServerUnreachable,
)
from whisper_client.retry import CONNECTION, TIMEOUT, parse_retry_after, retry_cause
from whisper_client.transport import checked_token, checked_url, is_loopback, no_server_message

DEFAULT_LIVE_URL = "http://127.0.0.1:8000/v1"
CLOSE_TIMEOUT_S = 2.0


class Unopened(Exception):
    """A handshake that failed; `cause` is None where another try cannot help."""

    def __init__(self, error: ClientError, cause: str | None, retry_after_s: float | None = None) -> None:
        super().__init__(str(error))
        self.error, self.cause, self.retry_after_s = error, cause, retry_after_s


def realtime_url(base: str) -> str:
    """The WebSocket's address, for a server's root, its `/v1` or one of its routes; raises BadArgument."""
    base = f"http{base.removeprefix('ws')}" if base.startswith(("ws://", "wss://")) else base
    parts = urlsplit(checked_url(base))
    if parts.path.startswith("/predictions/"):
        raise BadArgument("TorchServe has no live streams: give the gateway, --url http://127.0.0.1:8000/v1")
    parts = urlsplit(
        openai_url(urlunsplit(parts._replace(path=parts.path.rstrip("/").removesuffix("/realtime"))))
    )
    path = parts.path.removesuffix(OPENAI_PATHS[0]).removesuffix(OPENAI_PATHS[1]) + "/realtime"
    scheme = "wss" if parts.scheme == "https" else "ws"
    return urlunsplit(parts._replace(scheme=scheme, path=path, query="intent=transcription"))


def opened(url: str, token: str | None, timeout_s: float) -> ClientConnection:
    """An accepted WebSocket; raises Unopened."""
    token = checked_token(token)
    shown = url.partition("?")[0]
    try:
        return connect(
            url,
            additional_headers={"Authorization": f"Bearer {token}"} if token else None,
            compression=None,  # of base64 sound it gains little
            open_timeout=timeout_s,
            close_timeout=CLOSE_TIMEOUT_S,
            max_size=None,
            proxy=None if is_loopback(url) else True,
        )
    except InvalidStatus as error:
        raise _refused(error) from error
    except (InvalidHandshake, InvalidURI, EOFError) as error:
        message = f"{shown} speaks no WebSocket ({error}): give the gateway's address with --url"
        raise Unopened(ServerUnreachable(message), CONNECTION) from error
    except TimeoutError as error:
        late = ServerTimeout(f"no answer from {shown} in {timeout_s:g} s: give a longer --timeout")
        raise Unopened(late, TIMEOUT) from error
    except ssl.SSLError as error:
        raise Unopened(NoServer(f"no secure connection to {shown}: {error}"), None) from error
    except OSError as error:
        raise Unopened(NoServer(no_server_message(shown)), CONNECTION) from error


def _refused(refused: InvalidStatus) -> Unopened:
    response = refused.response
    status, body = response.status_code, bytes(response.body or b"")
    message = refusal_message(status, body)
    if status == 429:
        message += "; end another stream, or wait"
    retry_after_s = parse_retry_after(response.headers.get("Retry-After"), datetime.now(UTC))
    return Unopened(ServerRefused(message, status=status), retry_cause(status, body), retry_after_s)
