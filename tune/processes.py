"""Children that measure. They keep their engine from one measurement to the next: loading takes longer."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO

import psutil

from scripts.serve.torchserve import SPIN_COUNT
from tune.measurements import Failure

ROOT = Path(__file__).resolve().parents[1]
SHOWN_CHARS = 200
MOST_CHILDREN = 6  # that are alive: as many as take part in the rounds
MIN_FREE_SHARE = 0.25  # of the memory, else the oldest child ends


class Child:
    """One process; a task in, an answer out, one line each."""

    def __init__(self, module: str) -> None:
        self._stderr: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  # closed by `end`
        self._process = subprocess.Popen(
            [sys.executable, "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            cwd=ROOT,
            env=environment(),
        )

    def answer(self, task: str, timeout_s: float) -> str | Failure:
        """Its line for the task's line; a Failure if it ended or took too long."""
        assert self._process.stdin is not None and self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(f"{task}\n".encode())
            self._process.stdin.flush()
        if not select.select([self._process.stdout], [], [], timeout_s)[0]:
            return Failure(f"took longer than {timeout_s:g} s")
        if line := self._process.stdout.readline():
            return line.decode(errors="replace")
        status = self._process.wait()
        self._stderr.seek(0)
        return Failure(failure_reason(status, self._stderr.read().decode(errors="replace")))

    def end(self) -> None:
        """Kills it, if it is alive."""
        self._process.kill()
        self._process.communicate()
        self._stderr.close()


class Children:
    """Task → the child that has its engine; the oldest ends where there are too many."""

    def __init__(self, module: str, most: int = MOST_CHILDREN) -> None:
        self._module = module
        self._most = most
        self._of_task: dict[str, Child] = {}  # the one that was asked last at the end

    def answer(self, task: str, timeout_s: float) -> str | Failure:
        """A child's line for the task; a child that fails is gone."""
        child = self._of_task.pop(task, None)
        if child is None:
            self._make_room()
            child = Child(self._module)
        found = child.answer(task, timeout_s)
        if isinstance(found, Failure):
            child.end()
        else:
            self._of_task[task] = child
        return found

    def close(self) -> None:
        """Ends all of them."""
        while self._of_task:
            self._of_task.pop(next(iter(self._of_task))).end()

    def _make_room(self) -> None:
        while self._of_task and (len(self._of_task) >= self._most or _free_share() < MIN_FREE_SHARE):
            self._of_task.pop(next(iter(self._of_task))).end()


def environment() -> dict[str, str]:
    """A child's: as serve.sh gives it to workers."""
    found = dict(os.environ)
    if "OMP_WAIT_POLICY" not in found:
        found.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)
    return found


def failure_reason(returncode: int, stderr: str) -> str:
    """Why a child ended, in one line: its signal, else the last line of its traceback."""
    if returncode < 0:
        name = signal.Signals(-returncode).name if -returncode in list(signal.Signals) else -returncode
        return f"crashed by {name}" + (", out of memory perhaps" if name == "SIGKILL" else "")
    lines = [line for line in stderr.splitlines() if line.strip()]
    last = lines[-1] if lines else f"exit status {returncode}"
    kind, colon, message = last.partition(": ")
    # the error's name says little to a user: "asr.config.ConfigError: engine.precision is …"
    return (message if colon and kind.replace(".", "").isidentifier() else last)[:SHOWN_CHARS]


def _free_share() -> float:
    memory = psutil.virtual_memory()
    return float(memory.available / memory.total)
