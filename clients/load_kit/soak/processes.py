"""Processes of a server on this machine: the listener of a port, its children, their memory."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

WORKER_COMMAND = "model_service_worker.py"  # TorchServe's name for what runs a handler
MEDIA_COMMAND = "gateway.media.child"  # the gateway's processes that decode uploads


@dataclass(frozen=True, slots=True)
class Process:
    pid: int
    role: str  # "worker" | "java" | "gateway" | "media" | "child", else the name of its program
    rss_mib: float


def worker_pids(port: int) -> list[int]:
    """TorchServe's workers below the process that listens on `port`."""
    return sorted(process.pid for process in _server(port) if WORKER_COMMAND in _command(process))


def processes(ports: list[int]) -> list[Process]:
    """All processes of the servers on these ports, with their resident memory now."""
    found = []
    for process in {process for port in ports for process in _server(port)}:
        with contextlib.suppress(psutil.Error):  # ended in between
            if rss := process.memory_info().rss:  # a zombie has none
                found.append(Process(process.pid, _role(process), rss / 2**20))
    return sorted(found, key=lambda process: process.pid)


def _server(port: int) -> Iterator[psutil.Process]:
    for connection in psutil.net_connections("tcp"):
        if connection.status == psutil.CONN_LISTEN and connection.laddr[1:2] == (port,) and connection.pid:
            with contextlib.suppress(psutil.Error):
                listener = psutil.Process(connection.pid)
                yield from (listener, *listener.children(recursive=True))


def _role(process: psutil.Process) -> str:
    command = _command(process)
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


def _command(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""
