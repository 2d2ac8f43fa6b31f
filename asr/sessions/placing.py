"""A window's slices → segments where the speech is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from asr.audio.stretches import clip_spans
from asr.constants import SAMPLE_RATE
from asr.request.options import RequestOptions
from asr.schema import Segment, SpeechSpan
from asr.sessions.ladder import Verdict
from asr.sessions.segmenting import blank_if_empty, make_segment
from asr.text.slicing import WindowSlices
from asr.text.tokenizer import Tokenizer
from asr.text.words import NO_ALIGNMENT, SegmentWords, WordRules, time_words


def placed_segments(
    slices: WindowSlices,
    verdict: Verdict,
    window: SpeechSpan,
    spans: Sequence[SpeechSpan],
    options: RequestOptions,
    tokenizer: Tokenizer,
) -> list[Segment]:
    """The segments that have text, within the window and, where speech was detected, within speech.

    window: its span; spans: speech in the whole utterance. The model writes times in steps of
    20 ms and prefers round ones, so that a pause at a segment's edge is cut off here.
    """
    speech = clip_spans(spans, window.start, window.end)
    words: Sequence[SegmentWords | None] = [None] * len(slices.items)
    if options.word_timestamps:
        rules = WordRules(
            tokenizer,
            verdict.hypothesis.language,
            options.prepend_punctuations,
            options.append_punctuations,
        )
        start = window.start / SAMPLE_RATE
        seconds = [(span.start / SAMPLE_RATE - start, span.end / SAMPLE_RATE - start) for span in speech]
        alignment = verdict.hypothesis.alignment or NO_ALIGNMENT
        words = time_words(slices.items, alignment, rules, start, start, seconds)
    segments = [
        make_segment(timed, timed_words, verdict, window.start, tokenizer)
        for timed, timed_words in zip(slices.items, words, strict=True)
    ]
    fitted = (blank_if_empty(_in_speech(_inside(segment, window), speech)) for segment in segments)
    return [segment for segment in fitted if segment.text]


def _inside(segment: Segment, window: SpeechSpan) -> Segment:
    """The segment and its words inside the window: a timestamp may point into the padding."""

    def clamped(position: int) -> int:
        return min(max(position, window.start), window.end)

    words = tuple(replace(word, start=clamped(word.start), end=clamped(word.end)) for word in segment.words)
    return replace(segment, start=clamped(segment.start), end=clamped(segment.end), words=words)


def _in_speech(segment: Segment, speech: Sequence[SpeechSpan]) -> Segment:
    """The segment without the pauses at its edges; a segment with words already has their edges."""
    inside = clip_spans(speech, segment.start, segment.end)
    if segment.words or not inside:
        return segment
    return replace(segment, start=inside[0].start, end=inside[-1].end)
