"""95 % intervals by bootstrap over recordings (Bisani and Ney 2004), seeded, so that they repeat.

Recordings are drawn with replacement, because the errors of one recording depend on each other. Two systems
are compared on the same draws: what is hard for both then cancels out of their difference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SEED = 1
RESAMPLES = 2_000


@dataclass(frozen=True, slots=True)
class Interval:
    """A value with the 2.5th and the 97.5th percentile of its resampled values."""

    value: float
    low: float
    high: float

    @property
    def is_above_zero(self) -> bool:
        return self.low > 0


def error_rate(wrong: Sequence[int], words: Sequence[int]) -> Interval:
    """Wrong words ÷ reference words over all recordings, in per cent; one of each per recording."""
    return _interval(np.array(wrong), np.array(words))


def rate_difference(wrong: Sequence[int], other: Sequence[int], words: Sequence[int]) -> Interval:
    """The error rate of the first system less that of the other, in percentage points."""
    return _interval(np.array(wrong) - np.array(other), np.array(words))


def _interval(counts: NDArray[np.int64], words: NDArray[np.int64]) -> Interval:
    """100 · Σ counts ÷ Σ words, and its interval; a draw without any word does not count."""
    drawn = np.random.default_rng(SEED).integers(0, len(words), (RESAMPLES, len(words)))
    numbers = words[drawn].sum(axis=1)
    has_words = numbers > 0
    rates = 100 * counts[drawn].sum(axis=1)[has_words] / numbers[has_words]
    low, high = np.percentile(rates, [2.5, 97.5])
    return Interval(100 * float(counts.sum() / words.sum()), float(low), float(high))
