"""Measurements that nobody measured."""

from __future__ import annotations

from typing import Any

from tune.configurations import Configuration
from tune.measurements import Cell, Sample

MIB = 2**20


def sample(speed: float, **changes: Any) -> Sample:
    """100 s of audio and a clip of 5 s, both `speed` times real time, on two quiet cores."""
    values: dict[str, Any] = {
        "audio_s": 100.0,
        "wall_s": 100.0 / speed,
        "cpu_s": 2 * 100.0 / speed,
        "others_s": 0.0,
        "cores": 2,
        "clip_audio_s": 5.0,
        "clip_s": 5.0 / speed,
        "load_s": 1.0,
        "peak_bytes": 500 * MIB,
        "texts": {},
    }
    return Sample(**(values | changes))


def cell(*speeds: float, backend: str = "torch", **changes: Any) -> Cell:
    """A configuration with a sample of each speed."""
    samples = [sample(speed, **changes) for speed in speeds]
    return Cell(Configuration(backend, "float32", 2, 8), samples)
