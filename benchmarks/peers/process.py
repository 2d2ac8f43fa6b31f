"""An engine in a process of its own, so that it shares no memory and no threads with the others."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.peers.engines import KINDS, Pcm, Peer
from benchmarks.seeded import sounds

ANSWER_WITHIN_S = 600
_loaded: list[tuple[Peer, list[Pcm]]] = []  # in the engine's process: the engine, and what it decodes


class PeerFailed(RuntimeError):
    """The engine could not be loaded, or its process ended or did not answer."""


class PeerProcess:
    """A loaded engine that waits for work. Only one works at a time, so none disturbs another."""

    def __init__(self, name: str, checkpoint: Path, threads: int, most_windows: int) -> None:
        self.name = name
        self._process = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))
        self._ask(_load, name, checkpoint, threads, most_windows)

    def run(self, windows: int, tokens: int) -> dict[str, Any]:
        """Seconds by stage, tokens, processor seconds, peak memory."""
        answer: dict[str, Any] = self._ask(_run, windows, tokens)
        return answer

    def _ask(self, function: Callable[..., Any], *arguments: object) -> Any:
        try:
            return self._process.submit(function, *arguments).result()
        except Exception as error:  # whatever the engine raises
            self._process.shutdown(wait=False)
            raise PeerFailed(f"{self.name}: {type(error).__name__}: {error}") from error

    def __enter__(self) -> PeerProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.shutdown()


def _load(name: str, checkpoint: Path, threads: int, most_windows: int) -> None:
    os.dup2(2, 1)  # what libraries print must not come into the tables
    _loaded.append((KINDS[name].make(checkpoint, threads), sounds(most_windows)))


def _run(windows: int, tokens: int) -> dict[str, Any]:
    signal.alarm(ANSWER_WITHIN_S)  # ends the process
    ((peer, pcm),) = _loaded
    cpu = time.process_time()
    run = peer.run(pcm[:windows], tokens)
    spent = time.process_time() - cpu
    signal.alarm(0)
    return asdict(run) | {"windows": windows, "cpu": spent, "peak_mib": _peak_mib()}


def _peak_mib() -> float:
    """Largest resident memory of this process so far."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return float("nan")
