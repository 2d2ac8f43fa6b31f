"""Clients that each send a request when their last one is answered, and the outcome."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import requests
import soundfile
from numpy.typing import NDArray
from tqdm import tqdm

SAMPLE_RATE, WINDOW_SECONDS = 16_000, 30
REQUEST_TIMEOUT_S = 600
WARM_UP_CLIENTS = 16


@dataclass(frozen=True, slots=True)
class Level:
    """One closed loop: the request, the number of clients, and the outcome."""

    what: str
    seconds: float  # of audio in one request
    clients: int
    latencies: tuple[float, ...]  # seconds, sorted
    wall_s: float
    failures: int

    @property
    def throughput(self) -> float:
        """Seconds of audio answered per second."""
        return self.seconds * len(self.latencies) / self.wall_s

    def quantile(self, share: float) -> float:
        return float(np.quantile(self.latencies, share)) if self.latencies else float("nan")


def closed_loop(send: Callable[[], int], clients: int, count: int) -> tuple[list[float], float, int]:
    """Latencies of the good answers, seconds in all, failures; `send` returns the status."""

    def latency(_: int) -> float | None:
        begun = time.perf_counter()
        try:
            status = send()
        except requests.RequestException:
            status = 0
        return time.perf_counter() - begun if status == 200 else None

    begun = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:  # a thread takes its next request when its last is answered
        found = list(pool.map(latency, range(count)))
    wall_s = time.perf_counter() - begun
    good = sorted(one for one in found if one is not None)
    return good, wall_s, count - len(good)


def poster(url: str, body: bytes, headers: dict[str, str]) -> Callable[[], int]:
    """A function that sends the request and returns its status; one connection per thread."""
    local = threading.local()

    def send() -> int:
        if not hasattr(local, "session"):
            local.session = requests.Session()
        answer = local.session.post(url, data=body, headers=headers, timeout=REQUEST_TIMEOUT_S)
        return int(answer.status_code)

    return send


def wav(pcm: NDArray[np.int16]) -> bytes:
    """int16 mono samples at 16 kHz as a WAV file."""
    buffer = io.BytesIO()
    soundfile.write(buffer, pcm, SAMPLE_RATE, format="WAV", subtype="PCM_16")
    return buffer.getvalue()


def num_requests(clients: int, seconds: float) -> int:
    """Enough that every client sends a few, few enough for a minute at most."""
    return clients if seconds > WINDOW_SECONDS else max(6, min(4 * clients, 192))


def levels(
    what: str, send: Callable[[], int], seconds: float, clients: Sequence[int], *, warm_up: int = 1
) -> list[Level]:
    """One closed loop per number of clients, after `warm_up` requests.

    Java compiles its busiest code while it serves the first hundred, and takes two seconds of a core for it.
    """
    found = []
    _, _, failures = closed_loop(send, min(warm_up, WARM_UP_CLIENTS), warm_up)
    if failures:
        raise RuntimeError(f"{what}: {failures} of the first {warm_up} requests failed")
    for number in tqdm(clients, desc=f"{what}, {seconds:g} s", leave=False):
        latencies, wall_s, failures = closed_loop(send, number, num_requests(number, seconds))
        found.append(Level(what, seconds, number, tuple(latencies), wall_s, failures))
    return found
