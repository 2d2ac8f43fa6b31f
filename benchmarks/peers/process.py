"""The other end of worker.py: an engine in its own process, asked over pipes."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

WORKER = Path(__file__).with_name("worker.py")
ANSWER_WITHIN_S = 600.0


class PeerFailed(RuntimeError):
    """The engine's process ended or did not answer; its stderr tells why."""


class PeerProcess:
    """A loaded engine that waits for work. Only one works at a time, so none disturbs another."""

    def __init__(self, name: str, checkpoint: Path, threads: int, most_windows: int) -> None:
        self.name = name
        command = [sys.executable, str(WORKER), name, str(checkpoint), str(threads), str(most_windows)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self._complaints: list[str] = []
        threading.Thread(target=self._read_complaints, daemon=True).start()
        self._answer()  # it is loaded

    def run(self, windows: int, tokens: int) -> dict[str, Any]:
        """worker.py's answer: seconds by stage, tokens, processor seconds, peak memory."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"windows": windows, "tokens": tokens}) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        watchdog = threading.Timer(ANSWER_WITHIN_S, self._process.kill)
        watchdog.start()
        try:
            line = self._process.stdout.readline()
        finally:
            watchdog.cancel()
        if not line:
            self._process.wait(10)
            raise PeerFailed(f"{self.name}: " + "".join(self._complaints[-12:]))
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _read_complaints(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self._complaints = [*self._complaints[-50:], line]

    def __enter__(self) -> PeerProcess:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)
