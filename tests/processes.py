"""Processes that tests start: ended with the test, whatever becomes of it, and those that were left."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MARK = "WHISPER_TEST_SESSION"  # in the environment of everything that this run starts
TEST = "PYTEST_CURRENT_TEST"  # pytest's own: the test that runs
HELPERS = ("multiprocessing.resource_tracker", "multiprocessing.forkserver")  # Python's; they end with us


@contextlib.contextmanager
def started(command: Sequence[str], **options: Any) -> Iterator[subprocess.Popen[Any]]:
    """A process in a group of its own; the group is killed at the end."""
    with subprocess.Popen(command, start_new_session=True, **options) as process:
        try:
            yield process
        finally:
            kill_group(process)


def kill_group(process: subprocess.Popen[Any]) -> None:
    """Kills what is left of a process that leads a group, and of the group."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(30)


@dataclass(frozen=True, slots=True)
class Left:
    """A process that should have ended."""

    pid: int
    command: str
    test: str  # that ran when it was started; "" if unknown

    def __str__(self) -> str:
        return f"{self.pid}: {self.command[:200]}" + (f"\n    started in {self.test}" if self.test else "")


def mark_session() -> None:
    """Marks what this process starts from now on."""
    os.environ[MARK] = str(uuid.uuid4())


def ended_leftovers(patience_s: float = 10.0) -> list[Left]:
    """What this run started and left, killed; those that end by themselves in time do not count."""
    deadline = time.monotonic() + patience_s
    while (found := leftovers()) and time.monotonic() < deadline:
        time.sleep(0.1)
    for left in found:
        with contextlib.suppress(ProcessLookupError):
            os.kill(left.pid, signal.SIGKILL)
    return found


def leftovers() -> list[Left]:
    """Running descendants of this process, and orphans with its mark."""
    if not os.environ.get(MARK) or not Path("/proc/self/stat").is_file():
        return []
    parents = _parents()
    mark = f"{MARK}={os.environ[MARK]}".encode()
    found = []
    for pid in sorted(parents):
        environ = _words(pid, "environ")
        if pid != os.getpid() and (mark in environ or _descends(pid, os.getpid(), parents)):
            command = b" ".join(_words(pid, "cmdline")).decode("utf-8", "replace")
            test = next((word for word in environ if word.startswith(f"{TEST}=".encode())), b"")
            if not any(helper in command for helper in HELPERS):
                found.append(Left(pid, command, test.decode("utf-8", "replace").partition("=")[2]))
    return found


def _parents() -> dict[int, int]:
    """The parent of every running process, zombies left out."""
    parents = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError):
            # "pid (command) state ppid …"; the command may hold spaces and brackets
            state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
            if state != "Z":
                parents[int(entry.name)] = int(parent)
    return parents


def _descends(pid: int, ancestor: int, parents: dict[int, int]) -> bool:
    while pid in parents:
        pid = parents[pid]
        if pid == ancestor:
            return True
    return False


def _words(pid: int, name: str) -> list[bytes]:
    """The words of a process's `cmdline` or `environ`, none if it has ended or is another user's."""
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes().strip(b"\0").split(b"\0")
    except OSError:
        return []
