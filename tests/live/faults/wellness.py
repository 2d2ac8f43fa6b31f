"""What must be true after every fault: ready again, no process and no file that was not there before."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from scripts.serve.torchserve import group_members
from tests.live.faults.stack import Gateway, until
from tests.servers import Server

LOOK_EVERY_S = 0.1


@dataclass
class Readiness:
    """What `/health/ready` said, again and again."""

    gateway: Gateway
    began: float = field(default_factory=time.monotonic)
    last_unready: float | None = None

    def look(self) -> bool:
        if self.gateway.is_ready():
            return True
        self.last_unready = time.monotonic()
        return False

    @property
    def back_after_s(self) -> float:
        """Seconds from the fault until it was ready for good; 0 if it never was anything else."""
        return 0.0 if self.last_unready is None else self.last_unready + LOOK_EVERY_S - self.began

    def broken_now(self) -> None:
        """The fault happens at this moment."""
        self.began = time.monotonic()


@contextmanager
def survived(server: Server, gateway: Gateway) -> Iterator[Readiness]:
    """A block with a fault in it, after which everything is as it was before."""
    readiness, over = Readiness(gateway), threading.Event()
    processes, files = len(group_members(server.pid)), files_of(server, gateway)

    def watch() -> None:
        while not over.wait(LOOK_EVERY_S):
            readiness.look()

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield readiness
        until(readiness.look)
    finally:
        over.set()
        watching.join(30)
    until(lambda: len(group_members(server.pid)) == processes)
    until(lambda: files_of(server, gateway) <= files)


def files_of(server: Server, gateway: Gateway) -> set[Path]:
    """What is in the temporary directories of both, but for the workers' sockets."""
    found = (path for folder in (server.process.temp_dir, gateway.temp_dir) for path in folder.rglob("*"))
    return {path for path in found if path.exists() and not path.is_socket()}


def assert_nothing_is_left(folder: Path) -> None:
    """No process with `folder` in its arguments or environment, and no temporary directory in it."""
    until(lambda: processes_of(folder) == [])
    assert list(folder.glob("whisper-*")) == [], "a temporary directory is still there"


def processes_of(folder: Path) -> list[int]:
    return [
        int(process.name)
        for process in Path("/proc").iterdir()
        if process.name.isdigit()
        and any(str(folder).encode() in _read(process / name) for name in ("cmdline", "environ"))
    ]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # it has just ended, or is another user's
        return b""
