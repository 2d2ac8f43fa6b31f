"""How measurements are judged."""

from __future__ import annotations

import pytest

from tests.tune.samples import MIB, cell, sample
from tune.decisions import (
    is_disturbed,
    is_far_behind,
    is_faster,
    losing_reason,
    winner_of,
    words_reason,
)
from tune.measurements import Spread
from tune.recordings import Words


@pytest.mark.parametrize(
    ("wrong", "total", "reason"),
    [
        (20, 200, ""),
        (18, 200, ""),  # better than float32
        (21, 200, "1 more of 200 words wrong"),  # 0.5 points
        (102, 1_000, ""),  # 0.2 points
        (103, 1_000, "3 more of 1000 words wrong"),
    ],
)
def test_more_wrong_words_than_float32_keep_a_configuration_out(wrong: int, total: int, reason: str) -> None:
    exact = Words(20 if total == 200 else 100, total)
    assert words_reason(Words(wrong, total), exact) == reason


def test_the_median_and_the_range_of_rounds() -> None:
    assert Spread.of([3.0, 1.0, 2.0]) == Spread(2.0, 1.0, 3.0, 3)


def test_throughput_and_the_speed_of_one_clip_count_the_same() -> None:
    assert sample(10.0).speed == pytest.approx(10.0)
    assert sample(10.0, clip_s=2.0).speed == pytest.approx(5.0)  # four times as slow alone, half the figure


@pytest.mark.parametrize(
    ("mine", "theirs", "expected"),
    [
        ((12, 12.5, 13), (10, 10.5, 11), True),
        ((10.5, 11, 11.2), (10, 10.2, 10.4), False),  # 8 %
        ((10, 20, 21), (9, 9.5, 11), False),  # twice as fast in the median, but the ranges overlap
        ((20, 21), (10, 10, 10), False),  # two rounds
        ((10, 10.5, 11), (12, 12.5, 13), False),
    ],
)
def test_faster_is_ten_per_cent_and_every_round(
    mine: tuple[float, ...], theirs: tuple[float, ...], expected: bool
) -> None:
    assert is_faster(cell(*mine), cell(*theirs)) is expected


def test_what_is_far_behind_after_a_round_is_left() -> None:
    assert is_far_behind(cell(6), cell(10))
    assert not is_far_behind(cell(7), cell(10))


def test_a_sample_is_disturbed_when_others_had_a_tenth_of_the_cores() -> None:
    assert not is_disturbed(sample(10.0, others_s=1.9))  # of 20 s
    assert is_disturbed(sample(10.0, others_s=2.1))
    assert not is_disturbed(sample(10.0, others_s=-0.5))  # clocks disagree by their ticks


def test_a_sample_is_disturbed_when_the_same_work_had_more_cores_before() -> None:
    alone = sample(10.0, cpu_s=18.0)
    assert is_disturbed(sample(8.0, cpu_s=14.0), [alone])  # 1.12 cores instead of 1.8
    assert not is_disturbed(sample(10.0, cpu_s=17.0), [alone])
    assert not is_disturbed(sample(10.0, cpu_s=5.0))  # work that keeps one core busy is no sign alone


def test_todays_settings_stay_unless_others_are_clearly_faster() -> None:
    today = cell(10, 10, 10)
    assert winner_of(today, [today, cell(10.5, 10.8, 11)]) is today
    faster = cell(12, 12, 12)
    assert winner_of(today, [today, cell(10.5, 10.8, 11), faster]) is faster


def test_what_is_out_and_what_has_too_few_rounds_never_wins() -> None:
    today, out, young = cell(10, 10, 10), cell(20, 20, 20), cell(30, 30)
    out.loses = "3 more of 200 words wrong"
    assert winner_of(today, [today, out, young]) is today


def test_between_equals_fewer_wrong_words_win_then_less_memory() -> None:
    fastest, exact = cell(20, 20, 21), cell(19.5, 20, 20)
    fastest.words, exact.words = Words(22, 200), Words(20, 200)
    assert winner_of(None, [fastest, exact]) is exact
    small = cell(19.5, 20, 20, peak_bytes=300 * MIB)
    small.words = Words(20, 200)
    assert winner_of(None, [fastest, exact, small]) is small


def test_without_todays_settings_the_fastest_wins_and_nobody_without_rounds() -> None:
    today = cell(10, 10, 10)
    today.loses = "crashed by SIGSEGV"
    other = cell(9, 9, 9)
    assert winner_of(today, [today, other]) is other
    assert winner_of(None, [cell(9, 9)]) is None


def test_a_loser_has_its_reason() -> None:
    winner = cell(20, 20, 20)
    assert losing_reason(cell(10, 10, 10), winner) == "0.50 of the winner's speed"
    assert losing_reason(cell(19, 19, 20), winner) == "no clear difference (0.95 of the winner's speed)"
    assert losing_reason(cell(15), winner) == "0.75 of the winner's speed in 1 of 3 rounds"
