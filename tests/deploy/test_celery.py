"""deploy/celery with real Redis and real workers, before a gateway that keeps batches in memory.

Celery's exact pins do not agree with ours, so CELERY_PYTHON names the Python of an environment of its own:

    python -m venv celery && celery/bin/pip install -r deploy/celery/requirements.txt
    CELERY_PYTHON=$PWD/celery/bin/python scripts/test tests/deploy/test_celery.py
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.processes import kill_group, started

PYTHON = os.environ.get("CELERY_PYTHON", "")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PYTHON, reason="CELERY_PYTHON names no environment with Celery"),
    pytest.mark.skipif(shutil.which("redis-server") is None, reason="no redis-server"),
]

FOLDER = Path(__file__).resolve().parents[2] / "deploy" / "celery"
WAIT_S = 60
SENDER = """
import sys
from worker import transcribe
result = transcribe.delay(sys.argv[1])
print(result.id, flush=True)
try:
    print(result.get(timeout=60))
except RuntimeError as error:
    print("failed:", error)
"""


class Jobs(ThreadingHTTPServer):
    """`Prefer: respond-async`, batches and files, as far as the task needs them."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.batches: dict[str, dict[str, Any]] = {}  # by the Idempotency-Key
        self.submissions = 0
        self.refusals = 0  # of the next requests
        self.finished = threading.Event()
        self.fails = False

    def batch(self, key: str) -> dict[str, Any]:
        self.submissions += 1
        return self.batches.setdefault(key, {"id": f"batch_{len(self.batches)}"})

    def shown(self, batch: dict[str, Any]) -> dict[str, Any]:
        if not self.finished.is_set():
            return batch | {"status": "in_progress", "output_file_id": None, "error_file_id": None}
        files = (None, "file-1") if self.fails else ("file-1", None)
        return batch | {"status": "completed", "output_file_id": files[0], "error_file_id": files[1]}


class _Handler(BaseHTTPRequestHandler):
    server: Jobs

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        assert self.headers["Prefer"] == "respond-async"
        if self.server.refusals:
            self.server.refusals -= 1
            self._answer(503, {"error": {"message": "not ready"}})
            return
        self._answer(202, self.server.shown(self.server.batch(self.headers["Idempotency-Key"])))

    def do_GET(self) -> None:
        if self.path.endswith("/content"):
            error = {"response": {"status_code": 415, "body": {"error": {"message": "not audio"}}}}
            self._answer(200, error if self.server.fails else {"response": {"body": {"text": "Hello."}}})
            return
        name = self.path.rpartition("/")[2]
        (batch,) = (batch for batch in self.server.batches.values() if batch["id"] == name)
        self._answer(200, self.server.shown(batch))

    def _answer(self, status: int, body: dict[str, Any]) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def jobs() -> Iterator[Jobs]:
    server = Jobs()
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = tmp_path_factory.mktemp("redis")
    command = ["redis-server", "--port", str(port), "--save", "", "--dir", str(folder)]
    with started(command, stdout=subprocess.DEVNULL):
        wait_until(lambda: socket.socket().connect_ex(("127.0.0.1", port)) == 0)
        yield f"redis://127.0.0.1:{port}/0"


@pytest.fixture
def environment(redis_url: str, jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The variables of a worker."""
    return os.environ | {
        "CELERY_REDIS_URL": redis_url,
        "WHISPER_URL": f"http://127.0.0.1:{jobs.server_address[1]}",
        "WHISPER_PAUSE_S": "0.1",
        "WHISPER_TIMEOUT_S": "1",
    }


@contextmanager
def worker(environment: dict[str, str]) -> Iterator[subprocess.Popen[Any]]:
    command = [PYTHON, "-m", "celery", "--workdir", str(FOLDER), "--app", "worker", "worker"]
    command += ["--pool", "solo", "--loglevel", "error", "--without-gossip", "--without-mingle"]
    with started(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        yield process


def wait_until(reached: Any) -> None:
    give_up = time.monotonic() + WAIT_S
    while not reached():
        assert time.monotonic() < give_up
        time.sleep(0.02)


@contextmanager
def sent(environment: dict[str, str], path: Path) -> Iterator[Iterator[str]]:
    """The lines of a program that sends the task: its id, and later its result."""
    command = [PYTHON, "-c", SENDER, str(path)]
    with started(command, env=environment, cwd=FOLDER, stdout=subprocess.PIPE, text=True) as process:
        yield (line.strip() for line in process.stdout)


def test_a_task_has_its_file_transcribed_once_whatever_is_killed(
    environment: dict[str, str], jobs: Jobs, tmp_path: Path
) -> None:
    audio = tmp_path / "a.wav"
    audio.write_bytes(b"RIFF")
    jobs.refusals = 1  # the gateway is not ready yet
    with sent(environment, audio) as lines:
        task_id = next(lines)
        with worker(environment) as first:
            wait_until(lambda: jobs.submissions)
            first.send_signal(signal.SIGKILL)
            kill_group(first)
        with worker(environment):
            jobs.finished.set()
            assert next(lines) == "{'text': 'Hello.'}"
            assert jobs.batches.keys() == {task_id}  # one batch, under the task's id

            jobs.fails = True
            with sent(environment, audio) as others:
                assert "not audio" in list(others)[1]
