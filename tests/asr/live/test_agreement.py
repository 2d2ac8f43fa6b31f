"""Settled words: agreed on, never taken back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from asr.live.agreement import Agreement, rest_of


def words(text: str) -> list[str]:
    return [" " + word for word in text.split()]


def test_two_hypotheses_agree_and_the_last_agreed_word_waits() -> None:
    agreement = Agreement(2, 1)
    assert agreement.hear(words("And so my")) == ""
    assert agreement.hear(words("And so my fellow")) == " And so"
    assert agreement.hear(words("my fellow Americans")) == " my", "the settled words are not decoded again"
    assert agreement.text == " And so my"


def test_case_and_punctuation_are_those_of_the_latest() -> None:
    agreement = Agreement(2, 1)
    agreement.hear(words("and so, my fellow."))
    assert agreement.hear(words("And so my fellow Americans,")) == " And so my"


def test_one_hypothesis_is_enough_where_so_few_are_asked_for() -> None:
    agreement = Agreement(1, 0)
    assert agreement.hear(words("one two")) == " one two"
    assert agreement.hear([]) == ""


def test_three_hypotheses() -> None:
    agreement = Agreement(3, 1)
    assert agreement.hear(words("one two three")) == ""
    assert agreement.hear(words("one two three")) == ""
    assert agreement.hear(words("one two four")) == " one"


def test_at_the_end_of_the_speech_nothing_waits() -> None:
    agreement = Agreement(2, 1)
    agreement.hear(words("one two"))
    assert agreement.hear(words("one two."), is_whole=True) == " one two", "the full stop may be a comma yet"
    agreement = Agreement(2, 1)
    agreement.hear(words("one two"))
    assert agreement.settle(words("one two three.")) == " one two three."


def test_silence_is_one_hypothesis_more() -> None:
    agreement = Agreement(2, 1)
    assert agreement.hear(words("one two"), is_whole=True, is_sure=True) == " one two"
    agreement = Agreement(3, 1)
    assert agreement.hear(words("one two"), is_whole=True, is_sure=True) == ""
    assert agreement.hear(words("one two"), is_whole=True, is_sure=True) == " one two"


@given(
    st.lists(st.lists(st.sampled_from("abc"), max_size=6), max_size=12), st.integers(1, 3), st.integers(0, 2)
)
def test_settled_words_only_grow(hypotheses: list[list[str]], count: int, hold_back: int) -> None:
    """Each hypothesis is what a model makes of a turn whose settled words it is given."""
    agreement = Agreement(count, hold_back)
    for hypothesis in hypotheses:
        before = agreement.text
        new = agreement.hear(words(" ".join(hypothesis)))
        assert agreement.text == before + new
        assert new.split() == hypothesis[: len(new.split())]


def test_the_rest_of_a_text_that_was_begun() -> None:
    text = "Why, it might have been in the workhouse."
    assert rest_of(text, "Why, it might have been") == " in the workhouse."
    assert rest_of(text, "why? It might have been") == " in the workhouse.", "case and punctuation may differ"
    assert rest_of(text, "Why it might has been in") == " the workhouse.", "and one word of four"
    assert rest_of(text, "Why it might been") == " in the workhouse.", "or be missing"
    assert rest_of(text, "She put her hair down") == ""
    assert rest_of(text, text) == "" and rest_of(text, "") == text


@given(st.text(), st.text())
def test_any_text_may_have_been_begun(text: str, begun: str) -> None:
    assert text.endswith(rest_of(text, begun))
    assert rest_of(begun + text, begun) == text
