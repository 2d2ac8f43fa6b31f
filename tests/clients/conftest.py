"""Fixtures: the fake server, a free port, a clip; no token and no proxy from outside."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.clients.fake_server import FakeHandler, FakeServer, write_wav
from tests.clients.no_wait import NoWaitClient


@pytest.fixture
def server() -> Iterator[FakeServer]:
    fake = FakeServer()
    handler = type("Handler", (FakeHandler,), {"fake": fake})
    http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    http.handle_error = lambda *_: None  # callers that leave are part of the tests
    http.daemon_threads = True
    fake.port = http.server_port
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    yield fake
    fake.released.set()
    http.shutdown()
    http.server_close()
    thread.join(5)


@pytest.fixture
def client(server: FakeServer) -> Iterator[NoWaitClient]:
    with NoWaitClient(server.url) as client:
        yield client


@pytest.fixture
def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """A second of silence."""
    return write_wav(tmp_path / "clip.wav", 1.0)


@pytest.fixture(autouse=True)
def _no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WHISPER_TOKEN", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
