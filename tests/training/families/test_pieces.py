"""Word pieces spell every word of both languages, and carry its time."""

from __future__ import annotations

from itertools import pairwise

import pytest

from training.families import pieces
from training.text import vocabulary


@pytest.mark.parametrize("language", ["en", "hi"])
def test_pieces_spell_every_word(language: str) -> None:
    for word in vocabulary(language):
        assert "".join(pieces.pieces()[piece] for piece in pieces.spelled(word)) == pieces.WORD_START + word


def test_there_are_as_many_pieces_as_named_and_none_twice() -> None:
    assert len(set(pieces.pieces())) == len(pieces.pieces()) == pieces.NUM_PIECES


def test_the_pieces_of_a_word_share_its_time() -> None:
    spans = pieces.timed("december", 1.0, 1.8)
    assert spans[0][1] == 1.0
    assert spans[-1][2] == pytest.approx(1.8)
    assert all(before[2] == after[1] for before, after in pairwise(spans))


@pytest.mark.parametrize("blank_first", [True, False])
def test_tokens_are_numbered_from_zero_with_the_blank_at_its_place(blank_first: bool) -> None:
    rows = [line.split(" ") for line in pieces.tokens_file(blank_first).splitlines()]
    assert [int(number) for _, number in rows] == list(range(pieces.NUM_PIECES + 1))
    assert rows[0 if blank_first else -1][0] == pieces.BLANK
