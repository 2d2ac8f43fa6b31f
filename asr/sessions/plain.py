"""An utterance for a family beside Whisper: each stretch of speech is decoded once, its text is a segment.

There is nothing to try again: no temperatures, no timestamps to go on from, no probability to doubt a text.
Sound in which the detector finds no speech is not decoded.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan

from asr.audio.stretches import AROUND_SAMPLES, Stretch
from asr.audio.windows import of_its_length, window_of
from asr.constants import HOP_LENGTH
from asr.engine import ModelSpec
from asr.errors import AsrError
from asr.request.options import RequestOptions
from asr.schema import DecodingOptions, Hypothesis, Samples, Segment, SpeechSpan, Transcript, Window
from asr.sessions.base import Offer, Tally
from asr.text.guards import compression_ratio
from asr.text.piece_words import timed_words


def plain_decoding(options: RequestOptions) -> DecodingOptions:
    """How a request's windows are decoded."""
    decoding = options.decoding
    return DecodingOptions(
        language=decoding.language, beam_size=decoding.beam_size, hotwords=options.hotwords
    )


def text_of(hypothesis: Hypothesis) -> str:
    """The text, with its leading space."""
    return "".join(piece.text for piece in hypothesis.pieces)


class PlainSession:
    """All windows are offered at once; segments come in the order of the utterance."""

    def __init__(
        self, samples: Samples, stretches: Sequence[Stretch], options: RequestOptions, spec: ModelSpec
    ) -> None:
        self.error: AsrError | None = None
        self._samples = samples
        self._stretches = [_around_speech(stretch) for stretch in stretches if not stretch.is_doubtful]
        self._options = options
        self._language = options.decoding.language or spec.only_language
        self._segments: list[Segment | None] = [None] * len(self._stretches)
        self._num_open = len(self._stretches)
        self._is_offered = False
        self._emitted = 0
        self._tally = Tally()

    @property
    def done(self) -> bool:
        return self.error is not None or not self._num_open

    def offers(self) -> list[Offer]:
        if self._is_offered:
            return []
        self._is_offered = True
        return [Offer(index, self._window(stretch)) for index, stretch in enumerate(self._stretches)]

    def accept(self, offer: Offer, outcome: Hypothesis | AsrError) -> None:
        if isinstance(outcome, AsrError):
            self.error = outcome
            return
        self._tally.add(outcome)
        self._tally.silent_windows += not outcome.pieces
        self._segments[offer.key] = self._segment(self._stretches[offer.key], outcome)
        self._num_open -= 1

    def take_segments(self) -> tuple[Segment, ...]:
        new: list[Segment] = []
        while self._emitted < len(self._segments) and (segment := self._segments[self._emitted]) is not None:
            new.append(segment)
            self._emitted += 1
        return tuple(segment for segment in new if segment.text)

    def transcript(self) -> Transcript:
        segments = tuple(segment for segment in self._segments if segment is not None and segment.text)
        text = "".join(segment.text for segment in segments)
        language = self._language if segments else self._options.decoding.language
        return Transcript(text, segments, language, "transcribe", len(self._samples), self._tally.stats())

    def _window(self, stretch: Stretch) -> Window:
        return of_its_length(window_of(self._samples, stretch.span, plain_decoding(self._options)))

    def _segment(self, stretch: Stretch, hypothesis: Hypothesis) -> Segment:
        """The text where the speech is; the words where their tokens are, if words are asked for."""
        text = text_of(hypothesis)
        words = timed_words(hypothesis.pieces, stretch.span) if self._options.word_timestamps else ()
        start, end = stretch.speech.start, stretch.speech.end
        if words:
            start, end = words[0].start, words[-1].end
        return Segment(
            start=start,
            end=end,
            text=text,
            tokens=(),
            seek=stretch.span.start // HOP_LENGTH,
            temperature=0.0,
            avg_logprob=None if isnan(hypothesis.avg_logprob) else hypothesis.avg_logprob,
            compression_ratio=compression_ratio(text.strip()),
            no_speech_prob=None,
            words=words,
        )


def _around_speech(stretch: Stretch) -> Stretch:
    """The stretch without silence far from its speech, by which a model would scale its features."""
    span, speech = stretch.span, stretch.speech
    start, end = max(span.start, speech.start - AROUND_SAMPLES), min(span.end, speech.end + AROUND_SAMPLES)
    return Stretch(speech, SpeechSpan(start, end))
