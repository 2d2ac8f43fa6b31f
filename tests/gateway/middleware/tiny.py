"""A small application behind all middlewares and behind `python -m gateway`'s own connections."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace, TracebackType
from typing import Any

import uvicorn
from fastapi import FastAPI
from starlette.requests import ClientDisconnect, Request

from asr.errors import AsrError, EngineFailure
from gateway.drain import Drain
from gateway.http.failures import CatchAll, install
from gateway.middleware.stack import add_middleware
from gateway.observe.metrics import Metrics
from gateway.observe.record import current_record
from gateway.settings import Settings


def settings(**sections: dict[str, Any]) -> Settings:
    return Settings(**sections)  # type: ignore[arg-type]


def parts(chosen: Settings) -> Any:
    """The part of the service that middlewares use."""
    return SimpleNamespace(settings=chosen, metrics=Metrics(), drain=Drain())


@dataclass
class Seen:
    """What the routes of the application saw."""

    bytes: int = 0
    errors: list[BaseException] = field(default_factory=list)
    released: asyncio.Event = field(default_factory=asyncio.Event)
    loop: asyncio.AbstractEventLoop | None = None  # the server's, once a request waits

    def call(self, function: Callable[[], object]) -> None:
        """Runs the function in the server's loop, where the drain and the event live."""
        assert self.loop is not None
        self.loop.call_soon_threadsafe(function)


def tiny_app(chosen: Settings) -> FastAPI:
    app = FastAPI()
    app.state.service = service = parts(chosen)
    seen = app.state.seen = Seen()

    @app.post("/read/{name}")
    async def read(request: Request, name: str) -> dict[str, int]:
        count = 0
        try:
            async for chunk in request.stream():
                count += len(chunk)
                seen.bytes += len(chunk)
        except (AsrError, ClientDisconnect) as error:
            seen.errors.append(error)
            raise
        current_record().audio_s = 1.5
        return {"bytes": count}

    @app.post("/ignore")
    async def ignore() -> dict[str, str]:
        return {"body": "not read"}

    @app.get("/wait")
    async def wait() -> dict[str, str]:
        seen.loop = asyncio.get_running_loop()
        await seen.released.wait()
        return {"waited": "yes"}

    @app.get("/break")
    async def fail() -> None:
        raise RuntimeError("secret detail")

    @app.get("/fail")
    async def engine() -> None:
        current_record().failed(error := EngineFailure("broke"))
        raise error

    @app.get("/client")
    async def client(request: Request) -> dict[str, str]:
        return {"address": request.client.host if request.client else ""}

    install(app)
    app.add_middleware(CatchAll)
    add_middleware(app, service)
    return app


class Served:
    """The application on a free port, in a thread; a context manager."""

    def __init__(self, app: FastAPI, **config: Any) -> None:
        self.app = app
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        config = {"loop": "uvloop", "http": "httptools", "ws": "none", "log_config": None} | config
        self._server = uvicorn.Server(uvicorn.Config(app, timeout_graceful_shutdown=1, **config))
        self._thread = threading.Thread(target=self._server.run, args=([self.socket],), daemon=True)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)

    def __enter__(self) -> Served:
        self._thread.start()
        give_up = time.monotonic() + 20
        while not self._server.started:
            assert time.monotonic() < give_up and self._thread.is_alive(), "the server did not start"
            time.sleep(0.005)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.should_exit = True
        self._thread.join(20)


def until(reached: Callable[[], bool]) -> None:
    """Waits for what follows an answer; fails where it does not come."""
    give_up = time.monotonic() + 20
    while not reached():
        assert time.monotonic() < give_up
        time.sleep(0.005)


def exchange(connection: socket.socket, request: bytes) -> bytes:
    """Everything the server says until it closes."""
    connection.sendall(request)
    return read_all(connection)


def read_all(connection: socket.socket) -> bytes:
    answer = b""
    while data := connection.recv(65_536):
        answer += data
    return answer
