"""A real TorchServe with a real gateway process before it, and clients that never stop asking."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from tests.ops.commands import caller_environment
from tests.processes import kill_group
from tests.servers import ROOT, Server, free_ports, start_server

DEMO = ROOT / "whisper-models" / "demo.pt"
CLIP = ROOT / "samples" / "digits.flac"
REFERENCE = ROOT / "samples" / "digits.txt"
RESPONSE_TIMEOUT_S = 20  # of a worker that hangs; a batch on a machine at ten times its load takes half of it
# batches as large as the load makes them, on whatever machine; no warm-up, for workers start again and again
ONE_THREAD = {
    "handler": {"engine": {"threads": 1, "max_batch_s": 1e6, "warm_up": False}},
    "maxBatchDelay": 20,
}


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


class Gateway:
    """`python -m gateway` on a free port before given TorchServe servers."""

    def __init__(self, folder: Path, servers: list[Server], **settings: str) -> None:
        (self.port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{self.port}"
        self.temp_dir = folder / "spool"
        self.temp_dir.mkdir(exist_ok=True)
        self.log = folder / "gateway.log"
        self.expected: list[str] = []  # words of the clip, as the model hears them when nothing is wrong
        environment = {
            "TMPDIR": str(self.temp_dir),
            "GATEWAY_SERVER__PORT": str(self.port),
            "GATEWAY_UPSTREAM__URLS": json.dumps([server.url for server in servers]),
            "GATEWAY_UPSTREAM__MANAGEMENT_URLS": json.dumps([server.management for server in servers]),
            **settings,
        }
        if servers[0].key_file is not None:
            environment["GATEWAY_UPSTREAM__KEY_FILE"] = str(servers[0].key_file)
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "gateway"],
                cwd=ROOT,
                env=caller_environment(**environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def is_ready(self) -> bool:
        try:
            return requests.get(f"{self.url}/health/ready", timeout=10).ok
        except requests.RequestException:
            return False

    def wait_until(self, is_so: Callable[[], bool], what: str, timeout_s: float = 90) -> float:
        """Seconds until it is so."""
        started = time.monotonic()
        while not is_so():
            assert self.process.poll() is None, self.log.read_text()[-2000:]
            assert time.monotonic() - started < timeout_s, f"not {what}: {self.log.read_text()[-2000:]}"
            time.sleep(0.05)
        return time.monotonic() - started

    def wait_ready(self, timeout_s: float = 90, **headers: str) -> float:
        """Seconds until it is ready; learns what the clip sounds like to this model."""
        took = self.wait_until(self.is_ready, "ready", timeout_s)
        if not self.expected:
            self.expected = words(self.transcribe(**headers).text)
            assert set(self.expected) & set(words(REFERENCE.read_text())), self.expected
        return took

    def transcribe(self, clip: Path = CLIP, timeout_s: float = 120, **headers: str) -> requests.Response:
        form = {"model": "whisper-1", "response_format": "text"}
        with clip.open("rb") as file:
            return requests.post(
                f"{self.url}/v1/audio/transcriptions", data=form, files={"file": file},
                headers=headers, timeout=timeout_s,
            )  # fmt: skip

    def windows(self) -> float:
        """In its queue or at TorchServe."""
        text = requests.get(f"{self.url}/metrics", timeout=30).text
        found = re.findall(r"^whisper_gateway_model_windows\{.*\} (\S+)$", text, re.MULTILINE)
        return sum(map(float, found))

    def stop(self) -> int:
        """Its exit status; it and its media processes have ended, whatever happens."""
        try:
            if self.process.poll() is None:
                self.process.send_signal(signal.SIGTERM)
            return self.process.wait(60)
        finally:
            kill_group(self.process)


@dataclass
class Load:
    """What the clients got so far."""

    expected: list[str]
    answers: list[tuple[int, str]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    @property
    def count(self) -> int:
        return len(self.answers) + len(self.errors)

    def assert_all_right(self) -> None:
        """Every request was answered with the right text, and there were some."""
        assert self.errors == []
        wrong = [answer for answer in self.answers if answer[0] != 200 or words(answer[1]) != self.expected]
        shown = "\n".join(f"{status}: {text[:300]!r}" for status, text in wrong[:5])
        assert not wrong, f"{len(wrong)} of {self.count} are wrong, among them\n{shown}"
        assert self.answers


@contextmanager
def load(gateway: Gateway, clients: int, headers: Callable[[], Mapping[str, str]] = dict) -> Iterator[Load]:
    """`clients` threads that send the clip again and again while the block runs; without any retry."""
    result, over = Load(gateway.expected), threading.Event()

    def ask() -> None:
        while not over.is_set():
            try:
                answer = gateway.transcribe(**headers())
                result.answers.append((answer.status_code, answer.text))
            except requests.RequestException as error:
                result.errors.append(str(error))

    threads = [threading.Thread(target=ask) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield result
    finally:
        over.set()
        for thread in threads:
            thread.join(180)


def started_server(folder: Path, **more: Any) -> Server:
    """TorchServe with the demo checkpoint on one thread."""
    return start_server(DEMO, folder, model_config=ONE_THREAD | more.pop("model_config", {}), **more)


@contextmanager
def starved(pid: int) -> Iterator[None]:
    """A process whose next large allocations fail, as at a container's limit. Small ones do not: a
    library may abort after one."""
    unlimited = resource.prlimit(pid, resource.RLIMIT_AS)
    used = int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize()
    resource.prlimit(pid, resource.RLIMIT_AS, (used + 24_000_000, unlimited[1]))
    try:
        yield
    finally:
        with suppress(ProcessLookupError):  # it may have ended over it
            resource.prlimit(pid, resource.RLIMIT_AS, unlimited)


def crowd(worker: int, gateway: Gateway, windows: int) -> None:
    """Stops the worker until n windows wait, so that its next batches are full on however slow a machine.

    TorchServe must be patient with it: `responseTimeout` is the repository's.
    """
    os.kill(worker, signal.SIGSTOP)
    try:
        until(lambda: gateway.windows() >= windows)
    finally:
        os.kill(worker, signal.SIGCONT)


def until(is_so: Callable[[], bool], timeout_s: float = 120) -> float:
    """Seconds until it is so."""
    started = time.monotonic()
    while not is_so():
        assert time.monotonic() - started < timeout_s
        time.sleep(0.05)
    return time.monotonic() - started
