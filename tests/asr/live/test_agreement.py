"""Settled words: agreed on, never taken back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from asr.live.agreement import Agreement


def words(text: str) -> list[str]:
    return [" " + word for word in text.split()]


def test_two_hypotheses_agree_and_the_last_agreed_word_waits() -> None:
    agreement = Agreement(2, 1)
    assert agreement.hear(words("And so my")) == []
    assert agreement.hear(words("And so my fellow")) == words("And so")
    assert agreement.hear(words("And so my fellow Americans")) == words("my")


def test_case_and_punctuation_are_those_of_the_latest() -> None:
    agreement = Agreement(2, 1)
    agreement.hear(words("and so, my fellow."))
    assert agreement.hear(words("And so my fellow Americans,")) == words("And so my")


def test_what_contradicts_a_settled_word_settles_nothing() -> None:
    agreement = Agreement(2, 0)
    agreement.hear(words("one two"))
    assert agreement.hear(words("one two three")) == words("one two")
    assert agreement.hear(words("one too three four")) == []
    assert agreement.hear(words("one too three four")) == []
    assert agreement.hear(words("one two three four five")) == []
    assert agreement.hear(words("one two three four five")) == words("three four five")


def test_one_hypothesis_is_enough_where_so_few_are_asked_for() -> None:
    agreement = Agreement(1, 0)
    assert agreement.hear(words("one two")) == words("one two")
    assert agreement.hear(words("one")) == []


def test_three_hypotheses() -> None:
    agreement = Agreement(3, 1)
    assert agreement.hear(words("one two three")) == []
    assert agreement.hear(words("one two three")) == []
    assert agreement.hear(words("one two four")) == words("one")


def test_at_the_end_of_the_speech_nothing_waits() -> None:
    agreement = Agreement(2, 1)
    agreement.hear(words("one two"))
    assert agreement.hear(words("one two"), is_whole=True) == words("one two")
    agreement = Agreement(2, 1)
    agreement.hear(words("one two"))
    assert agreement.settle(words("one two three")) == words("one two three")


@given(
    st.lists(st.lists(st.sampled_from("abc"), max_size=6), max_size=12), st.integers(1, 3), st.integers(0, 2)
)
def test_settled_words_only_grow(hypotheses: list[list[str]], count: int, hold_back: int) -> None:
    agreement = Agreement(count, hold_back)
    settled: list[str] = []
    for hypothesis in hypotheses:
        if new := agreement.hear(hypothesis):
            assert hypothesis[: len(settled)] == settled
            settled += new
            assert hypothesis[: len(settled)] == settled
