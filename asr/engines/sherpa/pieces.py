"""A recognizer's text, tokens and times → pieces that join to the text."""

from __future__ import annotations

import re
from collections.abc import Sequence

import regex  # type: ignore[import-untyped]

from asr.schema import MAX_TOKENS, Piece

BYTE = re.compile(r"<0x([0-9A-F]{2})>")  # a token of one byte, where the vocabulary lacks a character
BLANKS = re.compile(r"\s*")
GOES_ON = "@@"  # behind a token whose word goes on, as Paraformer writes it
UNSPACED = regex.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]")
MAX_MS = 60_000


def pieces_of(text: str, tokens: Sequence[str], times_s: Sequence[float]) -> tuple[Piece, ...]:
    """The text token by token with the tokens' times; whole, without times, where they do not fit it.

    The text begins with a space unless its script has none, so that the texts of windows can be joined.
    """
    text = text.strip()
    if not text:
        return ()
    found = _along(text, tokens, times_s) if len(tokens) == len(times_s) <= MAX_TOKENS else None
    pieces = found or (Piece(text[:MAX_TOKENS]),)
    first = pieces[0]
    lead = "" if UNSPACED.match(text) else " "
    return (Piece(lead + first.text.lstrip(), first.start_ms), *pieces[1:])


def _along(text: str, tokens: Sequence[str], times_s: Sequence[float]) -> tuple[Piece, ...] | None:
    """A piece for each token that the text has at its place; None where one is not there."""
    pieces: list[Piece] = []
    place = 0
    for token, time_s in _characters(tokens, times_s):
        begin = place
        end_of_blanks = BLANKS.match(text, place)
        assert end_of_blanks is not None
        place = end_of_blanks.end()
        if not text.startswith(token, place):
            return None
        place += len(token)
        if place > begin:
            pieces.append(Piece(text[begin:place], min(max(0, round(time_s * 1000)), MAX_MS)))
    return tuple(pieces) if place == len(text) and pieces else None


def _characters(tokens: Sequence[str], times_s: Sequence[float]) -> list[tuple[str, float]]:
    """The tokens without blanks around them; bytes in a row are one, with the first one's time."""
    joined: list[tuple[str, float]] = []
    waiting, since = b"", 0.0
    for token, time_s in zip(tokens, times_s, strict=True):
        if byte := BYTE.fullmatch(token):
            since = since if waiting else time_s
            waiting += bytes([int(byte[1], 16)])
            continue
        if waiting:
            joined.append((waiting.decode(errors="ignore"), since))
            waiting = b""
        joined.append((token.strip().removesuffix(GOES_ON), time_s))
    if waiting:
        joined.append((waiting.decode(errors="ignore"), since))
    return joined
