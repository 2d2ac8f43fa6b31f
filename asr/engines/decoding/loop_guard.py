"""Rows that repeat themselves to the token cap, stopped early.

A row is stopped only where its text would fail the request's compression rule whatever it still said, and
only while another temperature can be tried: the hypothesis is thrown away, as openai-whisper throws it away
once it has reached the token cap.
"""

from __future__ import annotations

from collections.abc import Sequence

from asr.text.guards import compression_ratio
from asr.text.tokenizer import Tokenizer

GUARD_EVERY = 16  # steps between two looks
MAX_PERIOD = 32  # tokens of the longest n-gram looked for
MIN_REPEATED = 48  # tokens the repetition must cover
MIN_REPEATS = 4
# what a token may still add: characters of text that do not compress at all; speech compresses 1.5 times
CHARS_PER_TOKEN = 5


def is_loop(tokens: Sequence[int], room: int, tokenizer: Tokenizer, limit: float) -> bool:
    """Whether a row is caught in a loop and its compression ratio will exceed `limit` whatever follows.

    tokens: sampled so far; room: how many more may be sampled.
    """
    if len(tokens) < MIN_REPEATED or not _repeats(tokens, tokenizer.timestamp_begin):
        return False
    text = tokenizer.decode(tokens).strip()
    if not text:
        return False
    ratio = min(compression_ratio(text, unit) for unit in ("bytes", "auto"))
    rest = CHARS_PER_TOKEN * room
    return (len(text) + rest) / (len(text) / ratio + rest) > limit


def _repeats(tokens: Sequence[int], timestamp_begin: int) -> bool:
    """Whether the last MIN_REPEATED tokens are one n-gram again and again, whatever its timestamps."""
    tail = [min(token, timestamp_begin) for token in tokens[-MIN_REPEATS * MAX_PERIOD :]]
    for period in range(1, MAX_PERIOD + 1):
        covered = max(MIN_REPEATED, MIN_REPEATS * period)
        if covered > len(tail):
            break
        if all(tail[-i] == tail[-i - period] for i in range(1, covered - period + 1)):
            return True
    return False
