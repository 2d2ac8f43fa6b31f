"""The cheapest way is the one that openai-whisper's loop over all cells finds."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from whisper.timing import dtw

from asr.engines.decoding.time_warping import cheapest_path


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (5, 1), (20, 50), (50, 20), (90, 700)])
@pytest.mark.parametrize("kind", ["any", "equal sums", "no numbers"])
def test_ways_are_openai_whispers(shape: tuple[int, int], kind: str) -> None:
    costs = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    if kind == "equal sums":
        costs = costs.round()
    elif kind == "no numbers":  # of heads that look nowhere
        costs[::2] = np.nan
    assert np.array_equal(cheapest_path(costs), dtw(torch.from_numpy(costs)))
