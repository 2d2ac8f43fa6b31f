"""serve.sh: what it starts again, what it ends cleanly, and what it refuses to start in one line."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
import requests

from scripts.serve.torchserve import group_members
from tests.gateway.jobs.conftest import line, rows, submit
from tests.live.faults.stack import CLIP, DEMO, until
from tests.live.faults.table import record
from tests.live.faults.wellness import assert_nothing_is_left
from tests.live.serve.test_serve_end_to_end import SAMPLE_TEXT, Running, words
from tests.ops.commands import ROOT, last_line, serve
from tests.servers import WORKER_COMMAND, command_line

NUM_LINES = 15
PATH = re.compile(r"/\S*/")  # of temporary folders, which nobody wants to read in a table
REFERENCE = words(SAMPLE_TEXT.read_text()) if SAMPLE_TEXT.is_file() else []


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """With TorchServe's keys, which are new with every life of it."""
    with Running(tmp_path_factory.mktemp("serve"), "demo", "--token-auth") as started:
        assert started.ready.wait(280), started.said
        started.wait_for("curl ")
        yield started


def url(running: Running) -> str:
    return f"http://127.0.0.1:{running.ports[3]}"


def is_ready(running: Running) -> bool:
    try:
        return requests.get(f"{url(running)}/health/ready", timeout=10).ok
    except requests.RequestException:
        return False


def temporary(running: Running) -> int:
    """Temporary directories: TorchServe's, while it runs."""
    return len(list(running.run_dir.parent.glob("whisper-*")))


def ask_in_background(running: Running, clients: int) -> tuple[list[threading.Thread], list[list[str]]]:
    """Clients that ask once, and what they will have heard."""
    heard: list[list[str]] = []
    threads = [threading.Thread(target=lambda: heard.append(running.transcribe())) for _ in range(clients)]
    for thread in threads:
        thread.start()
    return threads, heard


def test_java_killed_is_started_again(running: Running) -> None:
    """What is asked meanwhile waits for the next TorchServe."""
    java, gateway, folders = running.java, running.gateway, temporary(running)
    os.kill(java, signal.SIGKILL)
    started = time.monotonic()
    clients, heard = ask_in_background(running, 4)
    until(lambda: not is_ready(running))
    running.wait_for("READY again", 120)
    until(lambda: is_ready(running))
    ready_s = time.monotonic() - started
    for client in clients:
        client.join(120)
    took = time.monotonic() - started
    assert heard == [REFERENCE] * 4
    assert any("ended by itself with status -9" in line for line in running.said), running.said
    assert running.java != java and running.gateway == gateway
    assert group_members(java) == [] and temporary(running) == folders
    record(
        "Java `kill -9`, with token authorization, and 4 clients that ask then",
        took,
        "four answers",
        "every answer right; `serve.sh` starts TorchServe again, with new keys, and the gateway stays",
        ready_s,
    )


def test_a_killed_gateway_is_started_again(running: Running) -> None:
    gateway, folders = running.gateway, temporary(running)
    os.kill(gateway, signal.SIGKILL)
    started = time.monotonic()
    until(lambda: not is_ready(running))
    until(lambda: is_ready(running), 90)
    ready_s = time.monotonic() - started
    assert running.transcribe() == REFERENCE
    took = time.monotonic() - started
    assert running.gateway != gateway
    until(lambda: group_members(gateway) == [])
    assert temporary(running) == folders
    record(
        "gateway `kill -9`",
        took,
        "a right answer",
        "connections are refused meanwhile; `serve.sh` starts it again; no process or file is left",
        ready_s,
    )


def test_jobs_go_on_while_worker_and_java_are_killed(running: Running) -> None:
    again = sum("READY again" in line for line in running.said)
    looks: list[tuple[str, int]] = []  # at the second batch
    with openai.OpenAI(api_key="none", base_url=f"{url(running)}/v1", timeout=60) as client:
        right = client.audio.transcriptions.create(file=CLIP, model="whisper-1").text
        audio = client.files.create(file=CLIP, purpose="user_data").id
        first = submit(client, [line(str(n), file_id=audio) for n in range(NUM_LINES)])
        os.kill(worker(running), signal.SIGKILL)
        until(lambda: client.batches.retrieve(first.id).request_counts.completed)
        second = submit(client, [line(str(n), file_id=audio) for n in range(NUM_LINES)])
        os.kill(running.java, signal.SIGKILL)
        started = time.monotonic()

        def look(batch_id: str) -> str:
            batch = client.batches.retrieve(batch_id)
            assert batch.request_counts is not None and batch.request_counts.failed == 0
            if batch_id == second.id:
                looks.append((batch.status, batch.request_counts.completed))
            return batch.status

        until(lambda: look(second.id) == "in_progress")
        until(lambda: sum("READY again" in line for line in running.said) > again)
        until(lambda: [look(one.id) for one in (second, first)] == ["completed"] * 2)
        took = time.monotonic() - started
        assert [count for _, count in looks] == sorted(count for _, count in looks)
        for batch in (first, second):
            answers = rows(client, client.batches.retrieve(batch.id).output_file_id)
            assert {name: one["response"]["body"]["text"] for name, one in answers.items()} == {
                str(n): right for n in range(NUM_LINES)
            }
    record(
        f"worker, then Java `kill -9` under two batches of {NUM_LINES} lines",
        took,
        "both are completed",
        "`in_progress` meanwhile; no line lost, none answered twice, every text right",
    )


def worker(running: Running) -> int:
    """Process id of TorchServe's one worker."""
    (found,) = [pid for pid in group_members(running.java) if WORKER_COMMAND in command_line(pid)]
    return found


def test_sigterm_under_load_ends_with_every_answer(running: Running) -> None:
    """The worker stands still until all requests are there, and until the signal is."""
    stopped = worker(running)
    os.kill(stopped, signal.SIGSTOP)
    clients, heard = ask_in_background(running, 6)
    admitted = "whisper_gateway_admitted_requests 6.0"
    until(lambda: admitted in requests.get(f"{url(running)}/metrics", timeout=30).text)
    groups = [running.java, running.gateway]
    started = time.monotonic()
    running.process.send_signal(signal.SIGTERM)
    until(lambda: not is_ready(running))
    os.kill(stopped, signal.SIGCONT)
    assert running.wait(120) == 0
    took = time.monotonic() - started
    for client in clients:
        client.join(60)
    assert heard == [REFERENCE] * 6
    assert [group_members(group) for group in groups] == [[], []]
    assert_nothing_is_left(running.run_dir.parent)
    record(
        "SIGTERM under 6 clients", took, "everything has ended", "six answers, all right; no process is left"
    )


def refused(
    done: subprocess.CompletedProcess[str], fault: str, said: str, started: float, folder: Path
) -> None:
    """It ended at once with one line that says why, and left nothing behind."""
    took = time.monotonic() - started
    assert_nothing_is_left(folder)
    line = last_line(done.stderr)
    assert done.returncode in (1, 2), done.stderr
    assert said in line and "Traceback" not in done.stderr, done.stderr
    seen = f"status {done.returncode} and “{PATH.sub('…/', line)}”"
    record(fault, took, "it has ended", seen)


def test_a_missing_checkpoint(tmp_path: Path) -> None:
    started = time.monotonic()
    done = serve("nowhere.pt", cwd=tmp_path, TMPDIR=str(tmp_path))
    refused(done, "checkpoint missing", "nowhere.pt", started, tmp_path)


def test_a_checkpoint_of_another_hash(tmp_path: Path) -> None:
    (tmp_path / "tiny.en.pt").write_bytes(b"not what OpenAI published")
    started = time.monotonic()
    command = [sys.executable, "clients/download_model.py", "tiny.en", "--directory", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    refused(done, "checkpoint of another hash under a published name", "SHA-256", started, tmp_path)


def test_a_corrupt_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "broken.pt").write_bytes(DEMO.read_bytes()[:100_000])
    started = time.monotonic()
    with Running(tmp_path, "broken.pt") as broken:
        assert broken.wait(200) == 1
    took = time.monotonic() - started
    until(lambda: bool(broken.said) and "could not load the model" in broken.said[-1])
    assert broken.said[-1].startswith("serve.sh: ")
    assert_nothing_is_left(tmp_path)
    record(
        "checkpoint cut short", took, "it has ended", "status 1 and one line: “… could not load the model …”"
    )


def test_bad_yaml(tmp_path: Path) -> None:
    settings = tmp_path / "gateway.yaml"
    settings.write_text("server: [port: 8000\n")
    started = time.monotonic()
    done = serve("demo", "--dry-run", TMPDIR=str(tmp_path), GATEWAY_CONFIG=str(settings))
    refused(done, "bad YAML", "gateway.yaml", started, tmp_path)


def test_a_taken_port(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        started = time.monotonic()
        done = serve("demo", "--port", str(port), TMPDIR=str(tmp_path))
        refused(done, "port taken", "is in use", started, tmp_path)
