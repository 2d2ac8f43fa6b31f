"""How much audio may wait, and after how many seconds a refused request may try again."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from gateway.api_errors import QueueFull
from gateway.settings import AdmissionSettings

MEMORY_S = 120.0  # time constant of the average, in busy seconds
UNMEASURED_WAIT_S = 30.0  # Retry-After until a first file is done
MAX_WAIT_S = 600.0


class Throughput:
    """Seconds of audio finished per busy second: an exponential moving average."""

    def __init__(self) -> None:
        self._finished_s = 0.0
        self._busy_s = 0.0

    def wait(self, busy_s: float) -> None:
        """Adds a time during which there was work."""
        decay = math.exp(-busy_s / MEMORY_S)
        self._finished_s *= decay
        self._busy_s = self._busy_s * decay + MEMORY_S * (1 - decay)

    def finish(self, audio_s: float) -> None:
        self._finished_s += audio_s

    @property
    def rate(self) -> float | None:
        """None until the first file is finished."""
        if not self._finished_s or not self._busy_s:
            return None
        return self._finished_s / self._busy_s


class Admission:
    """Bounds the audio of all unfinished requests.

        with admission.admit(prepared.audio.duration_s):
            …

    If no request waits, one of any length is admitted, so that none is refused for ever.
    """

    def __init__(self, settings: AdmissionSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_s = settings.max_queued_audio_s
        self._clock = clock
        self._throughput = Throughput()
        self._counted_until = clock()
        self._queued_s = 0.0
        self._requests = 0

    @contextmanager
    def admit(self, audio_s: float) -> Iterator[None]:
        """Holds the request's place during the block; raises QueueFull."""
        self._count_time()
        excess_s = self._queued_s + audio_s - self._max_s
        if excess_s > 0 and self._requests:
            raise self._refusal(excess_s)
        self._queued_s += audio_s
        self._requests += 1
        try:
            yield
            self._count_time()
            self._throughput.finish(audio_s)
        finally:
            self._count_time()
            self._requests -= 1
            # sums of floats drift: an empty queue is exactly empty
            self._queued_s = self._queued_s - audio_s if self._requests else 0.0

    def stats(self) -> dict[str, float]:
        self._count_time()
        return {
            "requests": self._requests,
            "queued_audio_s": self._queued_s,
            "audio_s_per_s": self._throughput.rate or 0.0,
        }

    def _count_time(self) -> None:
        """Adds the time since the last call if there was work; idle time would lower the measured
        throughput."""
        now = self._clock()
        if self._requests:
            self._throughput.wait(now - self._counted_until)
        self._counted_until = now

    def _refusal(self, excess_s: float) -> QueueFull:
        rate = self._throughput.rate
        wait_s = min(MAX_WAIT_S, excess_s / rate) if rate else UNMEASURED_WAIT_S
        wait_s = max(1.0, wait_s)
        return QueueFull(
            f"{self._queued_s:.0f} s of audio wait already, and {self._max_s:.0f} s may; "
            f"try again in {wait_s:.0f} s",
            retry_after_s=wait_s,
        )
