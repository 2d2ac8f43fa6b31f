"""A hypothesis' tokens → the tokens of its segments, cut at timestamp tokens (as whisper/transcribe.py)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from asr.constants import FRAMES_PER_POSITION


@dataclass(frozen=True, slots=True)
class TimedTokens:
    """Tokens of one segment."""

    start: int  # mel frames from the start of the window
    end: int
    tokens: tuple[int, ...]  # timestamps included
    first: int  # index of tokens[0] in the hypothesis


@dataclass(frozen=True, slots=True)
class WindowSlices:
    """One window's tokens, segment by segment, and how much of the window they cover."""

    items: tuple[TimedTokens, ...]  # at least one
    frames: int  # mel frames of the window that need no further decoding
    complete: bool  # a single timestamp at the end: no speech follows it

    @property
    def num_tokens(self) -> int:
        """Tokens of the hypothesis in all items; what follows them is decoded again."""
        last = self.items[-1]
        return last.first + len(last.tokens)


def slice_tokens(
    tokens: Sequence[int], timestamp_begin: int, num_frames: int, *, exact_start: bool = False
) -> WindowSlices:
    """The slices of a window of `num_frames` mel frames.

    A pair of timestamps ends one slice and begins the next. Text behind the last pair ends in a later window:
    it is left out, and `frames` ends at the last timestamp so that the rest is decoded again. Without any
    pair the whole window is one slice. It starts with the window, as in openai-whisper, or, with
    `exact_start`, at a timestamp that opens the text, which then is not taken for the end.
    """
    is_timestamp = [token >= timestamp_begin for token in tokens]
    complete = is_timestamp[-2:] == [False, True]
    cuts = [i for i in range(1, len(tokens)) if is_timestamp[i - 1] and is_timestamp[i]]
    if not cuts:
        return WindowSlices((_whole(tokens, timestamp_begin, num_frames, exact_start),), num_frames, complete)
    if complete:
        cuts.append(len(tokens))
    items, first = [], 0
    for cut in cuts:
        part = tuple(tokens[first:cut])
        start, end = (FRAMES_PER_POSITION * (edge - timestamp_begin) for edge in (part[0], part[-1]))
        items.append(TimedTokens(start, end, part, first))
        first = cut
    frames = num_frames if complete else items[-1].end
    return WindowSlices(tuple(items), frames, complete)


def _whole(tokens: Sequence[int], timestamp_begin: int, num_frames: int, exact_start: bool) -> TimedTokens:
    """The window as one slice."""
    timestamps = [token for token in tokens if token >= timestamp_begin]
    start, end = 0, num_frames
    if exact_start and timestamps and timestamps[0] == tokens[0]:
        start = FRAMES_PER_POSITION * (timestamps.pop(0) - timestamp_begin)
    if timestamps and timestamps[-1] != timestamp_begin:
        end = FRAMES_PER_POSITION * (timestamps[-1] - timestamp_begin)
    return TimedTokens(start, end, tuple(tokens), 0)


def kept_text_tokens(tokens: Sequence[int], timestamp_begin: int, eot: int) -> tuple[int, ...]:
    """The text tokens of all slices: those that are aligned to the audio."""
    num_tokens = slice_tokens(tokens, timestamp_begin, 1).num_tokens
    return tuple(token for token in tokens[:num_tokens] if token < eot)
