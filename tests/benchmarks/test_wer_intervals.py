"""Intervals: a case that can be counted by hand, and what holds for all of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.wer.intervals import Interval, error_rate, rate_difference

ROW = st.tuples(st.integers(0, 30), st.integers(0, 30), st.integers(1, 30))  # wrong, wrong of another, words
COUNTS = st.lists(ROW, min_size=2, max_size=30)


def test_two_recordings_have_three_rates() -> None:
    """Drawn are both wrong, both right (each a quarter of all draws) or one of each: 0, 50, 100 %."""
    assert error_rate([10, 0], [10, 10]) == Interval(50.0, 0.0, 100.0)


def test_words_weigh_not_recordings() -> None:
    assert error_rate([1, 0], [1, 99]).value == 1.0


def test_the_interval_is_that_of_the_binomial() -> None:
    """400 recordings of one word, a tenth of them wrong: 10 ± 1.96 · √(0.1 · 0.9 / 400) = 7.1 to 12.9 %."""
    found = error_rate([1] * 40 + [0] * 360, [1] * 400)
    assert found.value == 10.0
    assert found.low == pytest.approx(7.06, abs=0.5) and found.high == pytest.approx(12.94, abs=0.5)


def test_what_is_hard_for_both_cancels_out() -> None:
    """One more error in every recording: one point, however much the recordings differ."""
    hard = np.arange(0, 100, 5)
    found = rate_difference((hard + 1).tolist(), hard.tolist(), [100] * len(hard))
    assert found == Interval(1.0, 1.0, 1.0) and found.is_above_zero
    assert error_rate(hard.tolist(), [100] * len(hard)).high - error_rate(hard.tolist(), [100] * 20).low > 20


@given(COUNTS)
def test_identical_systems_differ_by_nothing(counts: list[tuple[int, int, int]]) -> None:
    wrong, _, words = zip(*counts, strict=True)
    found = rate_difference(wrong, wrong, words)
    assert found == Interval(0.0, 0.0, 0.0) and not found.is_above_zero


@given(COUNTS)
def test_intervals_hold_their_value_and_repeat(counts: list[tuple[int, int, int]]) -> None:
    wrong, other, words = zip(*counts, strict=True)
    found = error_rate(wrong, words)
    assert found == error_rate(wrong, words)
    assert 0 <= found.low <= found.high
    there, back = rate_difference(wrong, other, words), rate_difference(other, wrong, words)
    assert there.value == -back.value
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low))
