"""A window's pieces → segments where the speech is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from asr.audio.stretches import clip_spans
from asr.constants import SAMPLE_RATE
from asr.request.options import RequestOptions
from asr.schema import Segment, SpeechSpan
from asr.sessions.ladder import Judged
from asr.sessions.segmenting import cleared, make_segment
from asr.text.slicing import Slicing
from asr.text.tokenizer import Tokenizer
from asr.text.words import NO_ALIGNMENT, TimedPiece, WordRules, time_pieces


def placed_segments(
    slicing: Slicing,
    judged: Judged,
    heard: SpeechSpan,
    spans: Sequence[SpeechSpan],
    options: RequestOptions,
    tokenizer: Tokenizer,
) -> list[Segment]:
    """The segments that say something, inside what the window heard and, where it can be told, in speech.

    heard: of the window; spans: speech in the whole utterance. The model writes times in steps of 20 ms and
    likes round ones; a pause at a segment's edge is cut off.
    """
    speech = clip_spans(spans, heard.start, heard.end)
    timed: Sequence[TimedPiece | None] = [None] * len(slicing.pieces)
    if options.word_timestamps:
        rules = WordRules(
            tokenizer,
            judged.hypothesis.language,
            options.prepend_punctuations,
            options.append_punctuations,
        )
        start = heard.start / SAMPLE_RATE
        seconds = [(span.start / SAMPLE_RATE - start, span.end / SAMPLE_RATE - start) for span in speech]
        alignment = judged.hypothesis.alignment or NO_ALIGNMENT
        timed = time_pieces(slicing.pieces, alignment, rules, start, start, seconds)
    segments = [
        make_segment(piece, placed, judged, heard.start, tokenizer)
        for piece, placed in zip(slicing.pieces, timed, strict=True)
    ]
    fitted = (cleared(_in_speech(_inside(segment, heard), speech)) for segment in segments)
    return [segment for segment in fitted if segment.text]


def _inside(segment: Segment, heard: SpeechSpan) -> Segment:
    """The segment and its words inside the window: a timestamp may point into the padding."""

    def clamped(position: int) -> int:
        return min(max(position, heard.start), heard.end)

    words = tuple(replace(word, start=clamped(word.start), end=clamped(word.end)) for word in segment.words)
    return replace(segment, start=clamped(segment.start), end=clamped(segment.end), words=words)


def _in_speech(segment: Segment, speech: Sequence[SpeechSpan]) -> Segment:
    """The segment without the pauses at its edges; one with words has the edges of its words."""
    inside = clip_spans(speech, segment.start, segment.end)
    if segment.words or not inside:
        return segment
    return replace(segment, start=inside[0].start, end=inside[-1].end)
