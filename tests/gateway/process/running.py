"""The real `python -m gateway`, as a process of its own before a fake TorchServe."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.processes import kill_group

ROOT = Path(__file__).resolve().parents[3]
PATIENCE_S = 60
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def environment(**settings: Any) -> dict[str, str]:
    """This process's environment with `server__port=1` as GATEWAY_SERVER__PORT=1, and no other settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}
    return kept | {f"GATEWAY_{name.upper()}": str(value) for name, value in settings.items()}


def until(reached: Callable[[], Any], complaint: str) -> None:
    give_up = time.monotonic() + PATIENCE_S
    while not reached():
        assert time.monotonic() < give_up, complaint
        time.sleep(0.02)


class GatewayProcess:
    """A gateway that is ready; a context manager that ends it with SIGTERM and expects status 0."""

    def __init__(self, upstream: str, *arguments: str, root: Path = ROOT, **settings: Any) -> None:
        """root: the checkout that it runs from."""
        settings = {"upstream__urls": upstream, "media__processes": 1} | settings
        self.lines: list[dict[str, Any]] = []
        self._process = subprocess.Popen(
            [sys.executable, "-m", "gateway", "--port", "0", *arguments],
            cwd=root,
            env=environment(**settings),
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        threading.Thread(target=self._follow, daemon=True).start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def url(self) -> str:
        url: str = self.line("listening")["url"]
        return url

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1])

    def line(self, event: str) -> dict[str, Any]:
        """The first log line of this event; waits for it."""
        until(lambda: self.events(event) or self._process.poll() is not None, f"no line {event}")
        return self.events(event)[0]

    def events(self, event: str) -> list[dict[str, Any]]:
        return [line for line in self.lines if line["event"] == event]

    def connect(self, timeout: float = 20) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=timeout)

    def get(self, path: str) -> tuple[int, bytes]:
        try:
            with DIRECT.open(self.url + path, timeout=20) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    def open_files(self) -> int:
        """How many sockets, pipes and files the process holds."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def resident_mb(self) -> float:
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        raise AssertionError("no VmRSS")

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def wait(self) -> int:
        """Its exit status."""
        return self._process.wait(PATIENCE_S)

    def __enter__(self) -> GatewayProcess:
        try:
            assert self.url
            until(lambda: self.get("/health/ready")[0] == 200, "it did not become ready")
        except BaseException:
            kill_group(self._process)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Ends it with SIGTERM and expects status 0; it and its media processes have ended in any case."""
        try:
            if self._process.poll() is None:
                self.signal(signal.SIGTERM)
            assert self.wait() == 0
        finally:
            kill_group(self._process)

    def _follow(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                self.lines.append(json.loads(line))  # every line is JSON
