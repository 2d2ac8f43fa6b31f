"""Pieces of a window → segments on the utterance's clock."""

from __future__ import annotations

from dataclasses import replace

from asr.constants import HOP_LENGTH, SAMPLE_RATE
from asr.schema import Segment
from asr.sessions.ladder import Judged
from asr.text.slicing import Piece
from asr.text.tokenizer import Tokenizer
from asr.text.words import TimedPiece


def make_segment(
    piece: Piece, placed: TimedPiece | None, judged: Judged, offset: int, tokenizer: Tokenizer
) -> Segment:
    """The segment of a piece whose window starts `offset` samples into the utterance.

    placed: the same piece with its words, whose edges then count; None without word times.
    """
    hypothesis = judged.hypothesis
    if placed is None:
        start, end = offset + piece.start * HOP_LENGTH, offset + piece.end * HOP_LENGTH
    else:
        start, end = round(placed.start * SAMPLE_RATE), round(placed.end * SAMPLE_RATE)
    logprobs = hypothesis.token_logprobs[piece.first : piece.first + len(piece.tokens)]
    return Segment(
        start=start,
        end=end,
        text=tokenizer.decode([token for token in piece.tokens if token < tokenizer.eot]),
        tokens=piece.tokens,
        seek=offset // HOP_LENGTH,
        temperature=hypothesis.temperature,
        avg_logprob=hypothesis.avg_logprob,
        compression_ratio=judged.ratio,
        no_speech_prob=hypothesis.no_speech_prob,
        words=placed.to_words() if placed is not None else (),
        token_logprobs=logprobs,
        token_bytes=tuple(tokenizer.token_bytes(token) for token in piece.tokens) if logprobs else (),
    )


def cleared(segment: Segment) -> Segment:
    """The segment, emptied if it takes no time or says nothing."""
    if segment.start != segment.end and segment.text.strip():
        return segment
    return replace(segment, text="", tokens=(), words=(), token_logprobs=(), token_bytes=())


def ended(segment: Segment, num_samples: int) -> Segment:
    """The segment and its words, none of them behind the end of the audio: Whisper may time its padding."""
    if segment.end <= num_samples:
        return segment
    words = tuple(
        replace(word, start=min(word.start, num_samples), end=min(word.end, num_samples))
        for word in segment.words
    )
    start = min(segment.start, num_samples)
    return replace(segment, start=start, end=num_samples, words=words)
