"""The vocabulary files, and that every generated sentence stays inside them."""

from __future__ import annotations

import random
import unicodedata

import pytest

from training.synthesis import is_reserved
from training.text import FOLDER, utterance, vocabulary, written
from training.vocabulary_rows import NUM_TOKENS, compact_ids, used_tokens, word_tokens

LEAST_WORDS = {"en": 500, "hi": 150}


@pytest.mark.parametrize("language", LEAST_WORDS)
def test_the_word_list_is_sorted_unique_normal_and_large_enough(language: str) -> None:
    words = (FOLDER / f"{language}.txt").read_text("utf-8").splitlines()
    assert words == sorted(set(words))
    assert len(words) >= LEAST_WORDS[language]
    assert all(word == unicodedata.normalize("NFC", word) for word in words)


@pytest.mark.parametrize("language", LEAST_WORDS)
def test_the_word_list_is_what_sentences_are_made_of(language: str) -> None:
    listed = (FOLDER / f"{language}.txt").read_text("utf-8").split()
    assert tuple(listed) == vocabulary(language)
    rng = random.Random(0)
    said = {word for _ in range(500) for word in utterance(rng, language)}
    assert said <= set(listed)


def test_every_written_word_has_trained_rows() -> None:
    rows = compact_ids()
    for language in LEAST_WORDS:
        for word in vocabulary(language):
            for shown in written([word], language):
                assert all(token in rows for token in word_tokens(shown))
    assert max(used_tokens()) < NUM_TOKENS


def test_writing_gives_capitals_names_and_full_stops() -> None:
    assert written(["emma", "is", "happy"], "en") == ["Emma", "is", "happy."]
    assert written(["in", "june"], "en", is_start=False, is_end=False) == ["in", "June"]
    assert written(["यह", "घर"], "hi") == ["यह", "घर।"]


def test_one_sentence_in_twenty_is_reserved_and_short_ones_never() -> None:
    rng = random.Random(0)
    sentences = [utterance(rng, "en") for _ in range(4000)]
    long = [words for words in sentences if len(words) >= 3]
    assert 0.03 < sum(map(is_reserved, long)) / len(long) < 0.08
    assert not any(is_reserved(words) for words in sentences if len(words) < 3)
