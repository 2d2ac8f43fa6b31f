"""A window's slices → segments on the utterance's clock."""

from __future__ import annotations

from dataclasses import replace

from asr.constants import HOP_LENGTH, SAMPLE_RATE
from asr.schema import Segment
from asr.sessions.ladder import Verdict
from asr.text.slicing import TimedTokens
from asr.text.tokenizer import Tokenizer
from asr.text.words import SegmentWords


def make_segment(
    timed: TimedTokens, words: SegmentWords | None, verdict: Verdict, offset: int, tokenizer: Tokenizer
) -> Segment:
    """The segment of a slice whose window starts `offset` samples into the utterance.

    words: the slice's words, which then decide its edges; None without word times.
    """
    hypothesis = verdict.hypothesis
    if words is None:
        start, end = offset + timed.start * HOP_LENGTH, offset + timed.end * HOP_LENGTH
    else:
        start, end = round(words.start * SAMPLE_RATE), round(words.end * SAMPLE_RATE)
    logprobs = hypothesis.token_logprobs[timed.first : timed.first + len(timed.tokens)]
    return Segment(
        start=start,
        end=end,
        text=tokenizer.decode([token for token in timed.tokens if token < tokenizer.eot]),
        tokens=timed.tokens,
        seek=offset // HOP_LENGTH,
        temperature=hypothesis.temperature,
        avg_logprob=hypothesis.avg_logprob,
        compression_ratio=verdict.ratio,
        no_speech_prob=hypothesis.no_speech_prob,
        words=words.to_words() if words is not None else (),
        token_logprobs=logprobs,
        token_bytes=tuple(tokenizer.token_bytes(token) for token in timed.tokens) if logprobs else (),
    )


def blank_if_empty(segment: Segment) -> Segment:
    """The segment, emptied if it lasts no time or has no text."""
    if segment.start != segment.end and segment.text.strip():
        return segment
    return replace(segment, text="", tokens=(), words=(), token_logprobs=(), token_bytes=())


def clip_to_end(segment: Segment, num_samples: int) -> Segment:
    """The segment and its words, cut at the end of the audio: Whisper may write times in its padding."""
    if segment.end <= num_samples:
        return segment
    words = tuple(
        replace(word, start=min(word.start, num_samples), end=min(word.end, num_samples))
        for word in segment.words
    )
    start = min(segment.start, num_samples)
    return replace(segment, start=start, end=num_samples, words=words)
