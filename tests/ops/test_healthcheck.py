"""scripts/healthcheck.py asks the gateway where there is one, else a worker."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from scripts.healthcheck import CANARY, unhealthy
from scripts.serve import settings
from tests.ops.commands import ROOT, caller_environment


class Server(ThreadingHTTPServer):
    """Answers every question with `status` and remembers it."""

    status = 200
    body = b"{}"

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[tuple[str, str | None]] = []  # path, Authorization


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append((self.path, self.headers["Authorization"]))
        self.send_response(self.server.status)
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def servers() -> Iterator[tuple[Server, Server]]:
    """A gateway and a TorchServe."""
    both = Server(), Server()
    for server in both:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    yield both
    for server in both:
        server.shutdown()
        server.server_close()


def run_directory(folder: Path, gateway: Server | None) -> Path:
    """What serve.sh writes before it starts."""
    paths = settings.Paths(*[folder] * 4, run_dir=folder / "run", log_dir=folder)
    settings.prepare(paths, {}, {}, f"http://127.0.0.1:{gateway.server_port}" if gateway else None)
    return paths.run_dir


def test_the_gateway_is_asked_where_it_runs(servers: tuple[Server, Server], tmp_path: Path) -> None:
    gateway, torchserve = servers
    assert unhealthy(run_directory(tmp_path, gateway), torchserve.server_port, 10) is None
    assert gateway.asked == [("/health/ready", None)]
    assert torchserve.asked == []


def test_a_gateway_that_is_not_ready_is_unhealthy(servers: tuple[Server, Server], tmp_path: Path) -> None:
    gateway, torchserve = servers
    gateway.status, gateway.body = 503, b'{"status": "not ready", "reasons": ["no worker answers"]}'
    reason = unhealthy(run_directory(tmp_path, gateway), torchserve.server_port, 10)
    assert reason is not None and reason.startswith("HTTP 503") and "no worker answers" in reason


def test_without_a_gateway_a_worker_is_asked_with_the_key(
    servers: tuple[Server, Server], tmp_path: Path
) -> None:
    gateway, torchserve = servers
    run_directory(tmp_path, gateway)  # a start before this one
    run_dir = run_directory(tmp_path, None)
    (run_dir / "key_file.json").write_text(json.dumps({"inference": {"key": "secret"}}))
    assert unhealthy(run_dir, torchserve.server_port, 10) is None
    assert torchserve.asked == [(CANARY, "Bearer secret")]
    assert gateway.asked == []


def test_keys_that_are_half_written_are_unhealthy(servers: tuple[Server, Server], tmp_path: Path) -> None:
    run_dir = run_directory(tmp_path, None)
    (run_dir / "key_file.json").write_text("{")
    assert "JSONDecodeError" in (unhealthy(run_dir, servers[1].server_port, 10) or "")


@pytest.mark.parametrize(("status", "said"), [(200, "healthy"), (500, "unhealthy: HTTP 500: {}")])
def test_the_exit_status_is_dockers(
    servers: tuple[Server, Server], tmp_path: Path, status: int, said: str
) -> None:
    gateway, torchserve = servers
    gateway.status = status
    run_dir = run_directory(tmp_path, gateway)
    result = subprocess.run(
        [sys.executable, "-m", "scripts.healthcheck", "--port", str(torchserve.server_port)],
        cwd=ROOT, env=caller_environment(WHISPER_RUN_DIR=str(run_dir), http_proxy="http://127.0.0.1:9"),
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (result.returncode, result.stdout.strip(), result.stderr) == (int(status != 200), said, "")
