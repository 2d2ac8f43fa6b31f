"""Word pieces over both scripts: byte-pair encoding of the demo's words, each counted once."""

from __future__ import annotations

from collections import Counter
from functools import cache
from itertools import pairwise

from training.text import vocabulary
from training.vocabulary_rows import LANGUAGES

NUM_PIECES = 480  # a word is less than three pieces, so that 40 ms frames suffice for fast speech
WORD_START = "▁"  # sherpa-onnx writes a space for it
BLANK = "<blk>"


@cache
def merges() -> tuple[tuple[str, str], ...]:
    """The pairs to join, in order: always the most frequent pair, of equals the first in code-point order."""
    words = [[*(WORD_START + word)] for language in LANGUAGES for word in vocabulary(language)]
    known = {character for word in words for character in word}
    found: list[tuple[str, str]] = []
    while len(known) < NUM_PIECES:
        counts = Counter(pair for word in words for pair in pairwise(word))
        best = min(counts, key=lambda pair: (-counts[pair], pair))
        found.append(best)
        known.add("".join(best))
        words = [joined(word, best) for word in words]
    return tuple(found)


def joined(parts: list[str], pair: tuple[str, str]) -> list[str]:
    """The parts with every occurrence of the pair made one."""
    out: list[str] = []
    for part in parts:
        if out and (out[-1], part) == pair:
            out[-1] += part
        else:
            out.append(part)
    return out


@cache
def pieces() -> tuple[str, ...]:
    """All pieces; the position is the id: characters first, then the merged pieces in their order."""
    words = [WORD_START + word for language in LANGUAGES for word in vocabulary(language)]
    return (*sorted({character for word in words for character in word}), *map("".join, merges()))


@cache
def ids() -> dict[str, int]:
    return {piece: row for row, piece in enumerate(pieces())}


@cache
def spelled(word: str) -> tuple[int, ...]:
    """Piece ids of one word."""
    parts = [*(WORD_START + word)]
    for pair in merges():
        parts = joined(parts, pair)
    return tuple(ids()[part] for part in parts)


def timed(word: str, start_s: float, end_s: float) -> list[tuple[int, float, float]]:
    """(piece id, start_s, end_s) of each piece; the letters share the word's time evenly."""
    found, position = [], -1  # the word start takes no time
    for piece in spelled(word):
        past = position + len(pieces()[piece])
        span = [start_s + (end_s - start_s) * max(at, 0) / len(word) for at in (position, past)]
        found.append((piece, span[0], span[1]))
        position = past
    return found


def tokens_file(blank_first: bool) -> str:
    """tokens.txt as sherpa-onnx reads it: icefall's blank is the first id, NeMo's the last."""
    rows = [BLANK, *pieces()] if blank_first else [*pieces(), BLANK]
    return "".join(f"{piece} {row}\n" for row, piece in enumerate(rows))
