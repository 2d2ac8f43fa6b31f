"""Uploads decoded whole, as tests of their samples need them."""

from __future__ import annotations

import numpy as np

from asr.audio import media
from asr.config import Limits
from tests.asr.containers import CONTAINERS

LIMITS = Limits()
BY_NAME = {container.name: container for container in CONTAINERS}
SECONDS = 3.0  # of the containers' tone


def decode(body: bytes | bytearray | memoryview, limits: Limits = LIMITS) -> np.ndarray:
    """The samples, of the type and shape that all code relies on."""
    audio = media.decode(body, limits)
    assert audio.samples.dtype == np.int16
    assert audio.samples.ndim == 1
    return audio.samples
