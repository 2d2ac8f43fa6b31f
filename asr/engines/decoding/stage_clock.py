"""Seconds per stage of a batch, without making host and device wait for each other."""

from __future__ import annotations

import time

import torch

from asr.engines.device import Placement
from asr.schema import EngineSeconds

STAGES = ("features", "encode", "decode", "words")


class StageClock:
    """Starts when it is made. On CUDA the laps are events in the stream, read when all is done."""

    def __init__(self, placement: Placement) -> None:
        self._placement = placement
        self._laps: list[tuple[str, torch.cuda.Event | float]] = []
        self._begun = self._now()

    def lap(self, stage: str) -> None:
        """The time since the last lap belongs to `stage`."""
        self._laps.append((stage, self._now()))

    def shares(self, windows: int) -> EngineSeconds:
        """Seconds per stage of one of `windows` windows."""
        seconds = dict.fromkeys(STAGES, 0.0)
        last = self._begun
        for stage, now in self._laps:
            seconds[stage] += _between(last, now)
            last = now
        return EngineSeconds(**{stage: spent / windows for stage, spent in seconds.items()})

    def _now(self) -> torch.cuda.Event | float:
        if not self._placement.is_cuda:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self._placement.device))
        return event


def _between(start: torch.cuda.Event | float, end: torch.cuda.Event | float) -> float:
    if isinstance(start, float):
        assert isinstance(end, float)
        return end - start
    assert not isinstance(end, float)
    end.synchronize()
    return float(start.elapsed_time(end)) / 1000
