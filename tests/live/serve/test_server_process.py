"""A real TorchServe around the smallest handler: started, asked, stopped, and nothing left of it."""

from __future__ import annotations

import datetime
import ipaddress
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from scripts.serve import readiness
from scripts.serve.readiness import Probe, watch
from scripts.serve.serve_error import ServeError
from scripts.serve.torchserve import group_members
from tests.ops.commands import ROOT, caller_environment
from tests.processes import started
from tests.servers import Server, start_server

pytestmark = pytest.mark.server
STANDIN = ROOT / "tests" / "live" / "serve" / "standin" / "handler"
SECRET = "wsk-a-key-of-the-gateway"


def model(folder: Path, text: str) -> Path:
    file = folder / "model.pt"
    file.write_text(text)
    return file


def ask(url: str, headers: dict[str, str] | None = None, body: bytes | None = b"audio") -> bytes:
    request = urllib.request.Request(url, body, headers or {})
    with urllib.request.urlopen(request, timeout=60) as response:
        return bytes(response.read())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GATEWAY_ACCESS__KEYS", SECRET)
        running = start_server(model(folder, "hello"), folder, handler_dir=STANDIN)
    yield running
    running.stop()


def test_it_answers_through_the_repositorys_configuration(server: Server) -> None:
    assert json.loads(ask(server.predictions)) == {"text": "hello"}
    assert server.describe()["batchSize"] == 16
    assert server.describe()["responseTimeout"] == 900
    assert len(server.worker_pids()) == 1


def test_no_process_of_the_server_holds_a_secret(server: Server) -> None:
    for pid in group_members(server.pid):
        environment = Path(f"/proc/{pid}/environ").read_bytes()
        assert b"LOG_LOCATION=" in environment
        assert SECRET.encode() not in environment


def test_the_log_has_the_workers_lines_as_they_are(server: Server) -> None:
    lines = server.model_log.read_text().splitlines()
    assert [json.loads(line)["event"] for line in lines if line.startswith("{")] == ["loaded"]
    assert "Backend received inference" not in server.model_log.read_text()


def test_nothing_is_written_outside_the_servers_own_folders(server: Server) -> None:
    assert not (ROOT / "key_file.json").exists()
    assert not (server.process.paths.run_dir / "logs").exists()
    assert {file.name for file in server.log_dir.iterdir()} == {"model.log", "server.log", "access.log"}


def test_the_metrics_are_prometheus(server: Server) -> None:
    ask(server.predictions)
    text = ask(f"{server.metrics}/metrics", body=None).decode()
    assert 'ts_inference_requests_total{model_name="whisper"' in text
    assert "Requests2XX" in text


def test_only_the_store_may_be_loaded_and_the_model_api_is_off(server: Server) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        ask(f"{server.management}/models?url=file:///etc/passwd")
    assert refused.value.code == 405


def test_listening_sockets_are_loopback_only(server: Server) -> None:
    """The three HTTP ports and the two of gRPC, by what the kernel says."""
    import psutil

    listening = {
        connection.laddr.ip
        for connection in psutil.Process(server.pid).net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening
    assert all(ipaddress.ip_address(ip.removeprefix("::ffff:")).is_loopback for ip in listening)


def test_workers_scale_by_the_management_api(server: Server) -> None:
    server.scale(2)
    assert len(server.worker_pids()) == 2
    server.scale(1)
    deadline = time.monotonic() + 30
    while len(server.worker_pids()) != 1 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert len(server.worker_pids()) == 1


def test_stopping_leaves_no_process_and_no_temporary_file(tmp_path: Path) -> None:
    server = start_server(model(tmp_path, "hello"), tmp_path, handler_dir=STANDIN, workers=2)
    with server:
        workers = server.worker_pids()
        assert len(workers) == 2
    assert not any(Path(f"/proc/{pid}").exists() for pid in (*workers, server.pid))
    server.stop()  # a second time changes nothing


def test_a_model_that_does_not_load_is_a_reason_not_a_hang(tmp_path: Path) -> None:
    with pytest.raises(ServeError) as caught:
        start_server(model(tmp_path, "refuse"), tmp_path, handler_dir=STANDIN)
    assert str(caught.value) == (
        "the worker could not load the model: ValueError: the checkpoint is not in OpenAI's format"
    )


def test_a_death_seen_before_its_last_words_waits_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """TorchServe copies a worker's words line by line."""
    monkeypatch.setattr(readiness, "POLL_S", 0.01)
    words = f"Traceback (most recent call last):\n{readiness.FAILED_LOADS[0]}\n"
    looks = iter([words, words, words, f"{words}ValueError: half", f"{words}ValueError: half of it\n"])
    last = [""]

    def log_text(name: str) -> str:
        last[0] = next(looks, last[0])
        return last[0]

    server = SimpleNamespace(log_text=log_text, returncode=None)
    with pytest.raises(ServeError, match=r"load the model: ValueError: half of it$"):
        readiness.check_alive(server, readiness.Probe("http://x/predictions/whisper", "", None))


def test_an_import_that_fails_is_the_reason_given(tmp_path: Path) -> None:
    """TorchServe's last words are then about a handler of its own that does not exist."""
    handler = tmp_path / "handler"
    shutil.copytree(STANDIN.parent, tmp_path, dirs_exist_ok=True)
    entry = handler / "whisper_handler.py"
    entry.write_text("from asr import nowhere\n" + entry.read_text())
    with pytest.raises(
        ServeError, match="could not load the model: ImportError: cannot import name 'nowhere'"
    ):
        start_server(model(tmp_path, "hello"), tmp_path, handler_dir=handler)


def test_a_worker_that_dies_without_a_word_is_not_waited_for(tmp_path: Path) -> None:
    with pytest.raises(ServeError, match="died 2 times while loading"):
        start_server(model(tmp_path, "die"), tmp_path, handler_dir=STANDIN)


def test_a_server_whose_workers_were_given_up_is_ended(tmp_path: Path) -> None:
    """TorchServe itself goes on for ever, and requests to it hang."""
    checkpoint = model(tmp_path, "hello")
    server = start_server(checkpoint, tmp_path, handler_dir=STANDIN, model_config={"maxRetryTimeoutInSec": 2})
    try:
        checkpoint.write_text("refuse")
        for pid in server.worker_pids():
            os.kill(pid, signal.SIGKILL)
        probe = Probe(server.predictions, f"{server.management}/models/whisper", None)
        with pytest.raises(ServeError, match="gave up on its workers: ValueError: the checkpoint"):
            watch(server.process, probe, poll_s=4)  # longer than the pause before the one restart it tries
    finally:
        server.stop()


def test_a_server_that_ends_is_reported(tmp_path: Path) -> None:
    server = start_server(model(tmp_path, "hello"), tmp_path, handler_dir=STANDIN)
    try:
        os.kill(server.pid, signal.SIGKILL)
        probe = Probe(server.predictions, f"{server.management}/models/whisper", None)
        with pytest.raises(ServeError, match="ended by itself with status -9"):
            watch(server.process, probe, poll_s=0.5)
    finally:
        server.stop()  # also the workers, which nobody told
    assert group_members(server.pid) == []


def test_keys_are_asked_for_and_do_not_expire_soon(tmp_path: Path) -> None:
    server = start_server(model(tmp_path, "hello"), tmp_path, handler_dir=STANDIN, token_auth=True)
    try:
        with pytest.raises(urllib.error.HTTPError) as refused:
            ask(server.predictions)
        assert refused.value.code == 400  # TorchServe's choice, not 401
        assert json.loads(ask(server.predictions, server.headers()))["text"] == "hello"
        key_file = server.process.paths.key_file
        assert key_file.stat().st_mode & 0o077 == 0
        expires = json.loads(key_file.read_text())["inference"]["expiration time"]
        left = datetime.datetime.fromisoformat(expires[:19] + "+00:00") - datetime.datetime.now(datetime.UTC)
        assert left > datetime.timedelta(days=9 * 365)
    finally:
        server.stop()


CHILD = """
import sys, time
from pathlib import Path
from types import SimpleNamespace
from tests.servers import start_server
folder = Path(sys.argv[1])
server = start_server(folder / "model.pt", folder, handler_dir=Path(sys.argv[2]))
print(server.pid, flush=True)
time.sleep(600)
"""


def test_a_killed_supervisor_does_not_orphan_the_server(tmp_path: Path) -> None:
    """`kill -9` of serve.sh itself: the kernel tells Java."""
    model(tmp_path, "hello")
    environ = caller_environment(PYTHONPATH=str(ROOT))
    with started(
        [sys.executable, "-c", CHILD, str(tmp_path), str(STANDIN)],
        cwd=ROOT, env=environ, stdout=subprocess.PIPE, text=True,
    ) as supervisor:  # fmt: skip
        java = int(supervisor.stdout.readline())
        assert group_members(java)
        supervisor.kill()
        deadline = time.monotonic() + 30
        while group_members(java) and time.monotonic() < deadline:
            time.sleep(0.1)
    assert group_members(java) == []
