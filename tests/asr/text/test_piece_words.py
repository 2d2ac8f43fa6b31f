"""Pieces of a text → words with times, in scripts with spaces and without."""

from __future__ import annotations

import pytest

from asr.constants import SAMPLE_RATE
from asr.engines.sherpa.pieces import pieces_of
from asr.schema import Piece, SpeechSpan
from asr.text.piece_words import timed_words, word_texts

WINDOW = SpeechSpan(10 * SAMPLE_RATE, 12 * SAMPLE_RATE)


def seconds(pieces: list[Piece]) -> list[tuple[str, float, float]]:
    words = timed_words(pieces, WINDOW)
    return [(word.text, word.start / SAMPLE_RATE, word.end / SAMPLE_RATE) for word in words]


def test_a_word_lasts_from_its_first_token_until_the_next_word() -> None:
    pieces = [Piece(" na", 0), Piece("mas", 120), Piece("te", 240), Piece(" duniya", 400)]
    assert seconds(pieces) == [(" namaste", 10.0, 10.4), (" duniya", 10.4, 10.7)]


def test_a_word_before_a_pause_ends_before_it() -> None:
    assert seconds([Piece(" ek", 0), Piece(" do", 1500)]) == [(" ek", 10.0, 10.3), (" do", 11.5, 11.8)]


def test_no_word_reaches_out_of_its_window() -> None:
    assert seconds([Piece(" ek", 1900), Piece(" do", 2600)]) == [(" ek", 11.9, 12.0), (" do", 12.0, 12.0)]


def test_without_times_there_are_no_timed_words() -> None:
    assert timed_words([Piece(" ek do")], WINDOW) == ()
    assert word_texts([Piece(" ek do")]) == [" ek", " do"]


def test_a_script_without_spaces_has_a_word_for_each_piece() -> None:
    pieces = [Piece("今", 0), Piece("天", 200), Piece("，", 300), Piece(" ok", 400), Piece("ay", 500)]
    assert [text for text, _, _ in seconds(pieces)] == ["今", "天，", " okay"]


@pytest.mark.parametrize(
    ("text", "tokens", "expected"),
    [
        ("ek do", ["ek", " do"], [" ek", " do"]),
        ("ek do", [" ek", " d", "o"], [" ek", " d", "o"]),
        ("今天 ok", ["今", "天", " ok"], ["今", "天", " ok"]),
        ("नमस्ते", ["<0xE0>", "<0xA4>", "<0xA8>", "मस्ते"], [" न", "मस्ते"]),
        ("two", ["ĠĢ", "Ģ"], [" two"]),  # a vocabulary of bytes, whose tokens are no text
        ("twenty", [" two", "ty"], [" twenty"]),  # the text was normalised behind the search
        ("", [], []),
    ],
)
def test_pieces_join_to_the_text(text: str, tokens: list[str], expected: list[str]) -> None:
    pieces = pieces_of(text, tokens, [0.04 * n for n in range(len(tokens))])
    assert [piece.text for piece in pieces] == expected
    assert "".join(piece.text for piece in pieces).strip() == text


def test_tokens_that_are_no_part_of_the_text_bring_no_times() -> None:
    assert pieces_of("ek do", ["ek"], [0.0, 0.1]) == (Piece(" ek do"),)
    assert pieces_of("ek do", ["ek", " do"], [0.0, 61.5])[1] == Piece(" do", 60_000)
