"""A hypothesis' tokens → timed pieces, by its timestamp tokens (the slicing of whisper/transcribe.py)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from asr.constants import FRAMES_PER_POSITION


@dataclass(frozen=True, slots=True)
class Piece:
    """Tokens of one segment."""

    start: int  # mel frames from the start of the window
    end: int
    tokens: tuple[int, ...]  # timestamps included
    first: int  # index of tokens[0] in the hypothesis


@dataclass(frozen=True, slots=True)
class Slicing:
    """The pieces of one window and how far the utterance is told."""

    pieces: tuple[Piece, ...]
    frames: int  # mel frames of the window that need no further decoding
    complete: bool  # a single timestamp at the end: nothing is said after it

    @property
    def tokens_kept(self) -> int:
        last = self.pieces[-1]
        return last.first + len(last.tokens)


def slice_tokens(
    tokens: Sequence[int], timestamp_begin: int, num_frames: int, *, exact_start: bool = False
) -> Slicing:
    """Pieces of a window of `num_frames` mel frames.

    Consecutive timestamps separate pieces. What follows the last pair has begun but not ended inside the
    window: it is left out, and `frames` ends at the last timestamp so that the rest is decoded again.
    Without any pair the whole window is one piece, from the window's start as upstream has it, or from its
    first timestamp (`exact_start`): one that opens the text is no end of it.
    """
    is_timestamp = [token >= timestamp_begin for token in tokens]
    complete = is_timestamp[-2:] == [False, True]
    cuts = [i for i in range(1, len(tokens)) if is_timestamp[i - 1] and is_timestamp[i]]
    if not cuts:
        return Slicing((_one_piece(tokens, timestamp_begin, num_frames, exact_start),), num_frames, complete)
    if complete:
        cuts.append(len(tokens))
    pieces, first = [], 0
    for cut in cuts:
        piece = tuple(tokens[first:cut])
        start, end = (FRAMES_PER_POSITION * (edge - timestamp_begin) for edge in (piece[0], piece[-1]))
        pieces.append(Piece(start, end, piece, first))
        first = cut
    frames = num_frames if complete else pieces[-1].end
    return Slicing(tuple(pieces), frames, complete)


def _one_piece(tokens: Sequence[int], timestamp_begin: int, num_frames: int, exact_start: bool) -> Piece:
    timestamps = [token for token in tokens if token >= timestamp_begin]
    start, end = 0, num_frames
    if exact_start and timestamps and timestamps[0] == tokens[0]:
        start = FRAMES_PER_POSITION * (timestamps.pop(0) - timestamp_begin)
    if timestamps and timestamps[-1] != timestamp_begin:
        end = FRAMES_PER_POSITION * (timestamps[-1] - timestamp_begin)
    return Piece(start, end, tuple(tokens), 0)


def kept_text_tokens(tokens: Sequence[int], timestamp_begin: int, eot: int) -> tuple[int, ...]:
    """The text tokens of all pieces: those that are aligned to the audio."""
    kept = slice_tokens(tokens, timestamp_begin, 1).tokens_kept
    return tuple(token for token in tokens[:kept] if token < eot)
