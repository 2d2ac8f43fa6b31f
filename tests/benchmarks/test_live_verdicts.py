"""What a run of live streams comes to: error rates, shares and waits of turns that are known."""

from __future__ import annotations

import math

import pytest

from benchmarks.live.playing import PlayedTurn
from benchmarks.live.uploaded import Upload
from benchmarks.live.verdicts import quantiles, verdict

TEXT = "one two three four five six seven eight"


def turn(deltas: list[tuple[float, str]], text: str = TEXT, seconds: float = 6.0) -> PlayedTurn:
    """Committed 500 ms after its end, answered 300 ms later."""
    end_ms = 1_000 * seconds
    return PlayedTurn(0.0, end_ms, deltas, end_ms + 50, end_ms + 300, text)


def upload(text: str = TEXT) -> Upload:
    return Upload(text, 0.2, tuple(1_000.0 * (i + 0.5) for i in range(len(text.split()))))


def test_a_perfect_turn() -> None:
    deltas = [(2_000.0, "one two three four"), (6_000.0, " five six"), (6_300.0, " seven eight")]
    found = verdict([TEXT], [[turn(deltas)]], [[upload()]])
    assert (found.turns, found.words, found.different, found.replaced, found.long_turns) == (1, 8, 0, 0, 1)
    assert found.final_wer == found.upload_wer == found.shown_wer == 0.0
    assert found.settled_share == pytest.approx(6 / 8), "the last delta came behind the commit"
    assert found.first_word_s["p50"] == pytest.approx(1.5)
    assert found.each_word_s["count"] == 6
    assert found.final_s["p50"] == pytest.approx(0.3)
    assert found.upload_s["p50"] == pytest.approx(0.2)


def test_wrong_and_missing_words_of_the_deltas() -> None:
    found = verdict([TEXT], [[turn([(2_000.0, "one too three four")])]], [[upload("one two")]])
    assert found.shown_wer == pytest.approx(5 / 8) and found.final_wer == 0.0
    assert found.upload_wer == pytest.approx(6 / 8)
    assert (found.replaced, found.different) == (1, 1)


def test_short_turns_and_turns_without_a_delta() -> None:
    found = verdict([TEXT], [[turn([], seconds=2.0)]], [[upload()]])
    assert math.isnan(found.settled_share) and found.long_turns == 0
    assert found.first_word_s["p50"] == pytest.approx(1.8), "the transcript is the first that comes"
    assert math.isnan(quantiles([])["p50"])
