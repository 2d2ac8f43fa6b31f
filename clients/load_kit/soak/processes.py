"""Processes of a server on this machine, from /proc: who listens on a port, its children, their memory."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
LISTEN = "0A"  # the state in /proc/net/tcp
WORKER_COMMAND = "model_service_worker.py"  # TorchServe's name for what runs a handler
MEDIA_COMMAND = "gateway.media.child"  # the gateway's processes that decode uploads


@dataclass(frozen=True, slots=True)
class Process:
    pid: int
    role: str  # "worker" | "java" | "gateway" | "media" | "child", else the name of its program
    rss_mib: float


def server_pids(port: int) -> list[int]:
    """Processes that listen on `port` and everything below them, ascending; none where nobody listens."""
    sockets = {f"socket:[{inode}]" for inode in _listening_inodes(port)}
    found = {pid for pid in _pids() if sockets & set(_open_files(pid))} if sockets else set()
    children: dict[int, list[int]] = {}
    for pid in _pids():
        children.setdefault(_parent(pid), []).append(pid)
    todo = list(found)
    while todo:
        below = children.get(todo.pop(), [])
        todo += [pid for pid in below if pid not in found]
        found.update(below)
    return sorted(found)


def worker_pids(port: int) -> list[int]:
    """TorchServe's workers below the process that listens on `port`."""
    return [pid for pid in server_pids(port) if WORKER_COMMAND in _command(pid)]


def processes(ports: list[int]) -> list[Process]:
    """All processes of the servers on these ports, with their resident memory now."""
    pids = sorted({pid for port in ports for pid in server_pids(port)})
    found = ((pid, _role(pid), _rss_mib(pid)) for pid in pids)
    return [Process(pid, role, rss) for pid, role, rss in found if rss is not None]


def _role(pid: int) -> str:
    command = _command(pid)
    program = Path(command.split(" ")[0]).name
    if WORKER_COMMAND in command:
        return "worker"
    if program == "java":
        return "java"
    if MEDIA_COMMAND in command:
        return "media"
    if "multiprocessing" in command:
        return "child"
    return "gateway" if "gateway" in command else program or "unnamed"


def _rss_mib(pid: int) -> float | None:
    found = re.search(r"^VmRSS:\s+(\d+) kB", _read(pid, "status"), re.MULTILINE)
    return int(found[1]) / 1024 if found else None  # none: a zombie, or gone


def _parent(pid: int) -> int:
    found = re.search(r"^PPid:\s+(\d+)", _read(pid, "status"), re.MULTILINE)
    return int(found[1]) if found else 0


def _command(pid: int) -> str:
    return _read(pid, "cmdline").replace("\0", " ")


def _read(pid: int, name: str) -> str:
    try:
        return (PROC / str(pid) / name).read_text("utf-8", "replace")
    except OSError:
        return ""


def _pids() -> Iterator[int]:
    try:
        return (int(name) for name in os.listdir(PROC) if name.isdigit())
    except OSError:  # no Linux
        return iter(())


def _open_files(pid: int) -> Iterator[str]:
    folder = PROC / str(pid) / "fd"
    try:
        names = os.listdir(folder)
    except OSError:  # another user's, or gone
        return
    for name in names:
        try:
            yield os.readlink(folder / name)
        except OSError:
            continue


def _listening_inodes(port: int) -> Iterator[str]:
    for table in ("tcp", "tcp6"):
        try:
            lines = (PROC / "net" / table).read_text().splitlines()[1:]
        except OSError:
            continue
        for fields in map(str.split, lines):
            if fields[3] == LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                yield fields[9]
