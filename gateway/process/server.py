"""uvicorn, started from the settings and stopped by draining."""

from __future__ import annotations

import logging
import resource
import socket
import ssl
from types import FrameType

import uvicorn
from fastapi import FastAPI

from gateway.drain import Drain
from gateway.observe.logs import log_event
from gateway.process.guarded_connection import guarded
from gateway.process.guarded_socket import guarded_socket
from gateway.realtime.client_events import MAX_FRAME_BYTES
from gateway.routes import realtime
from gateway.service import Service
from gateway.settings import ServerSettings, SettingsError

log = logging.getLogger(__name__)

BACKLOG = 2_048
LEFTOVER_S = 2  # for open connections, after the last request
PING_S = 20.0  # between two pings of a WebSocket, and for each answer: a half-open one is noticed


def run(app: FastAPI, service: Service) -> None:
    """Serves until a signal comes, drains, and returns; raises SettingsError."""
    server = service.settings.server
    raise_file_limit()
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http=guarded(server, service.metrics.refuse, realtime.PATH),
        ws=guarded_socket(server),
        ws_max_size=MAX_FRAME_BYTES,
        ws_ping_interval=PING_S,
        ws_ping_timeout=PING_S,
        ws_per_message_deflate=False,  # base64 of speech hardly shrinks, and bombs do not grow
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # a middleware does it, with networks and without trusting loopback
        backlog=BACKLOG,
        timeout_keep_alive=max(1, round(server.keep_alive_s)),
        timeout_graceful_shutdown=LEFTOVER_S,
        reset_contextvars=True,
        ssl_certfile=server.tls_cert,
        ssl_keyfile=server.tls_key,
    )
    try:
        config.load()
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(f"server.tls_cert or server.tls_key cannot be used: {error}") from error
    listener = listening_socket(server)
    DrainingServer(config, service.drain, server.drain_s, _url(server, listener)).run([listener])


class DrainingServer(uvicorn.Server):
    """Stops in two steps. After the first signal it is not ready and finishes running requests; it still
    listens, so that new requests get a proper refusal. Then it closes. A second signal stops it at once."""

    def __init__(self, config: uvicorn.Config, drain: Drain, drain_s: float, url: str) -> None:
        super().__init__(config)
        self._drain = drain
        self._drain_s = drain_s
        self._url = url

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        log_event(log, "listening", url=self._url)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._drain.begin(0 if self._drain.draining else self._drain_s)

    async def on_tick(self, counter: int) -> bool:
        if self._drain.draining:
            if counter % 10 == 0:
                log_event(log, "draining", running=self._drain.running)
            self.should_exit = self.should_exit or self._drain.finished()
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        log_event(log, "stopped", cut_short=self._drain.expired)


def listening_socket(server: ServerSettings) -> socket.socket:
    """A bound, listening socket; raises SettingsError if the address cannot be used."""
    try:
        family, _, _, _, address = socket.getaddrinfo(
            server.host, server.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        return socket.create_server(address[:2], family=family, backlog=BACKLOG)
    except OSError as error:
        raise SettingsError(
            f"server.host is {server.host!r} and server.port {server.port}: {error.strerror}"
        ) from error


def raise_file_limit() -> None:
    """Allows as many open files as the system permits: each connection and each upload is one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _url(server: ServerSettings, listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    host = f"[{host}]" if ":" in host else host
    return f"{'https' if server.tls_cert else 'http'}://{host}:{port}"
