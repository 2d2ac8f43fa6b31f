"""A window's pieces → its words with times. In a script without spaces each piece is a word."""

from __future__ import annotations

import re
from collections.abc import Sequence

from asr.constants import SAMPLE_RATE
from asr.schema import Piece, SpeechSpan, Word

# A family tells where it found a token, which is somewhere in its sound: the last one of a word lasts on for
# a while, unless the next word begins.
LAST_TOKEN_SAMPLES = SAMPLE_RATE * 3 // 10
SAMPLES_PER_MS = SAMPLE_RATE // 1000


def timed_words(pieces: Sequence[Piece], window: SpeechSpan) -> tuple[Word, ...]:
    """The words of a window at `window`, in the utterance's samples; none where the family tells no times."""
    if any(piece.start_ms is None for piece in pieces):
        return ()
    groups = _words(pieces)
    starts = [_place(group[0], window) for group in groups]
    words = []
    for group, start, following in zip(groups, starts, [*starts[1:], window.end], strict=True):
        end = min(_place(group[-1], window) + LAST_TOKEN_SAMPLES, max(following, start))
        text = "".join(piece.text for piece in group)
        words.append(Word(text, start, end, None))
    return tuple(words)


def word_texts(pieces: Sequence[Piece]) -> list[str]:
    """The words, each with the space before it; of a text without times, those between spaces."""
    if any(piece.start_ms is None for piece in pieces):
        return re.findall(r"\s*\S+", "".join(piece.text for piece in pieces))
    return ["".join(piece.text for piece in word) for word in _words(pieces)]


def _words(pieces: Sequence[Piece]) -> list[list[Piece]]:
    words: list[list[Piece]] = []
    for piece in pieces:
        if words and not _begins_word(piece, words[-1]):
            words[-1].append(piece)
        else:
            words.append([piece])
    return words


def _begins_word(piece: Piece, before: Sequence[Piece]) -> bool:
    """Whether a piece has a space before it, or neither it nor the word before it is spelled with spaces."""
    if piece.text[:1].isspace():
        return True
    is_mark = not any(char.isalnum() for char in piece.text)
    return not is_mark and _is_unspaced(piece.text) and _is_unspaced(before[0].text)


def _is_unspaced(text: str) -> bool:
    """Whether the text is Chinese, Japanese, Thai or alike: one character is no part of a spelled word."""
    bare = text.strip()[:1]
    return bool(bare) and ("\u0e00" <= bare <= "\u0eff" or "\u1000" <= bare <= "\u109f" or bare >= "\u2e80")


def _place(piece: Piece, window: SpeechSpan) -> int:
    assert piece.start_ms is not None
    return min(window.start + piece.start_ms * SAMPLES_PER_MS, window.end)
