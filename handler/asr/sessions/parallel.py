"""Long form by speech spans: all windows of an utterance can be decoded side by side.

Each stretch of the utterance is a window of its own with every guard; times stay on the utterance's clock.
What a window leaves untold (its token cap was reached, or a sentence began and did not end) becomes a
stretch of its own and is decoded again from the last timestamp: nothing is dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from asr.constants import HOP_LENGTH, SAMPLE_RATE
from asr.engine import ModelSpec
from asr.errors import AsrError
from asr.options import RequestOptions
from asr.schema import Hypothesis, Samples, Segment, SpeechSpan, Transcript
from asr.sessions.base import Offer, Tally
from asr.sessions.ladder import Climb, Judged, decoding_options, judge
from asr.sessions.prompting import initial_tokens
from asr.sessions.segmenting import cleared, make_segment
from asr.stitch import Slicing, slice_tokens
from asr.tokens import tokenizer_for
from asr.windows import quietest_cut, window_of, window_seconds
from asr.words import NO_ALIGNMENT, WordRules, time_pieces

# spans of speech and the longest stretch in samples → stretches, none longer
Plan = Callable[[Sequence[SpeechSpan], int], tuple[SpeechSpan, ...]]

# the rest of a window is decoded again when this much of it is speech
MIN_REST_SAMPLES = SAMPLE_RATE // 10
# a window whose text has no usable timestamp at its token cap is halved, down to this length
MIN_HALF_SAMPLES = 2 * SAMPLE_RATE
# after so many re-seeks inside one stretch its rest is decoded without timestamps, which always ends
MAX_RESEEKS = 8


@dataclass(slots=True, eq=False)
class _Stretch:
    """A part of the utterance on its way to segments."""

    span: SpeechSpan
    climb: Climb
    num_reseeks: int = 0
    is_out: bool = False
    is_done: bool = False
    segments: list[Segment] = field(default_factory=list)


class ParallelSession:
    """One utterance cut at its speech spans. With the language unknown, the first window tells it."""

    def __init__(
        self,
        samples: Samples,
        spans: Sequence[SpeechSpan],
        plan: Plan,
        options: RequestOptions,
        spec: ModelSpec,
    ) -> None:
        self.error: AsrError | None = None
        self._samples = samples
        self._spans = tuple(spans)
        self._plan_windows = plan
        self._options = options
        self._tokenizer = tokenizer_for(spec.multilingual, spec.num_languages)
        self._language = options.language or (None if spec.multilingual else "en")
        self._prompt = initial_tokens(options, self._tokenizer)
        self._tally = Tally()
        self._emitted = 0  # stretches whose segments have been taken
        self._keys: dict[int, _Stretch] = {}  # windows that are out
        self._next_key = 0
        planned = self._plan(self._spans)
        self._stretches = [self._stretch(span) for span in planned]
        if self._language is None:
            del self._stretches[1:]  # planned again once the language is known

    @property
    def done(self) -> bool:
        return self.error is not None or all(stretch.is_done for stretch in self._stretches)

    def offers(self) -> list[Offer]:
        offers = []
        for stretch in self._stretches:
            if not stretch.is_out and not stretch.is_done:
                stretch.is_out = True
                self._keys[self._next_key] = stretch
                offers.append(Offer(self._next_key, stretch.climb.window))
                self._next_key += 1
        return offers

    def accept(self, offer: Offer, outcome: Hypothesis | AsrError) -> None:
        stretch = self._keys.pop(offer.key)
        stretch.is_out = False
        if isinstance(outcome, AsrError):
            self.error = outcome
            return
        if self._language is None:
            self._language = outcome.language
            rest = clip_spans(self._spans, stretch.span.end, len(self._samples))
            self._stretches.extend(self._stretch(span) for span in self._plan(rest))
        judged = judge(stretch.climb, outcome, self._options, self._tokenizer, self._tally)
        if isinstance(judged, Climb):
            stretch.climb = judged
            return
        stretch.is_done = True
        if not judged.silent:
            self._settle(stretch, judged)

    def take_segments(self) -> tuple[Segment, ...]:
        new: list[Segment] = []
        while self._emitted < len(self._stretches) and self._stretches[self._emitted].is_done:
            new.extend(self._stretches[self._emitted].segments)
            self._emitted += 1
        return tuple(new)

    def transcript(self) -> Transcript:
        segments = tuple(segment for stretch in self._stretches for segment in stretch.segments)
        text = "".join(segment.text for segment in segments)
        language = self._language or next(iter(self._options.languages), "en")
        stats = self._tally.stats()
        return Transcript(text, segments, language, self._options.task, len(self._samples), stats)

    def _plan(self, spans: Sequence[SpeechSpan]) -> tuple[SpeechSpan, ...]:
        return self._plan_windows(spans, int(window_seconds(self._language) * SAMPLE_RATE))

    def _stretch(self, span: SpeechSpan, num_reseeks: int = 0) -> _Stretch:
        options = decoding_options(self._options, self._language, self._prompt)
        if num_reseeks > MAX_RESEEKS:
            options = replace(options, without_timestamps=True)
        window = window_of(self._samples, span, options)
        return _Stretch(span, Climb(window), num_reseeks)

    def _settle(self, stretch: _Stretch, judged: Judged) -> None:
        """Takes a decided window: its segments, and what it leaves to be decoded again."""
        hypothesis, span = judged.hypothesis, stretch.span
        num_frames = stretch.climb.window.num_frames
        begin = self._tokenizer.timestamp_begin
        slicing = slice_tokens(hypothesis.tokens, begin, num_frames, exact_start=True)
        has_no_end = slicing.frames == num_frames and not slicing.complete  # nowhere to seek to
        is_capped = hypothesis.truncated and not hypothesis.looped
        if is_capped and has_no_end and span.end - span.start >= 2 * MIN_HALF_SAMPLES:
            middle = quietest_cut(self._samples, span.start + MIN_HALF_SAMPLES, span.end - MIN_HALF_SAMPLES)
            self._replace(stretch, [SpeechSpan(span.start, middle), SpeechSpan(middle, span.end)])
            return
        stretch.segments = [s for s in self._segments(slicing, judged, span) if s.text]
        rest = SpeechSpan(min(span.start + slicing.frames * HOP_LENGTH, span.end), span.end)
        if slicing.frames and self._speech_in(rest) >= MIN_REST_SAMPLES:
            self._insert_behind(stretch, [rest], stretch.num_reseeks + 1)

    def _segments(self, slicing: Slicing, judged: Judged, span: SpeechSpan) -> list[Segment]:
        hypothesis, pieces = judged.hypothesis, slicing.pieces
        if not self._options.word_timestamps:
            segments = [make_segment(p, None, judged, span.start, self._tokenizer) for p in pieces]
        else:
            rules = WordRules(
                self._tokenizer,
                hypothesis.language,
                self._options.prepend_punctuations,
                self._options.append_punctuations,
            )
            start = span.start / SAMPLE_RATE
            timed = time_pieces(pieces, hypothesis.alignment or NO_ALIGNMENT, rules, start, start)
            segments = [
                make_segment(piece, placed, judged, span.start, self._tokenizer)
                for piece, placed in zip(pieces, timed, strict=True)
            ]
        return [cleared(_inside(segment, span)) for segment in segments]

    def _speech_in(self, span: SpeechSpan) -> int:
        return sum(part.end - part.start for part in clip_spans(self._spans, span.start, span.end))

    def _insert_behind(self, stretch: _Stretch, spans: list[SpeechSpan], num_reseeks: int) -> None:
        index = self._stretches.index(stretch) + 1
        self._stretches[index:index] = [self._stretch(span, num_reseeks) for span in spans]

    def _replace(self, stretch: _Stretch, spans: list[SpeechSpan]) -> None:
        """The stretch, empty and done, is followed by stretches over `spans`."""
        self._insert_behind(stretch, spans, stretch.num_reseeks)


def clip_spans(spans: Sequence[SpeechSpan], start: int, end: int) -> tuple[SpeechSpan, ...]:
    """The parts of the spans inside [start, end)."""
    clipped = (SpeechSpan(max(span.start, start), min(span.end, end)) for span in spans)
    return tuple(span for span in clipped if span.start < span.end)


def _inside(segment: Segment, span: SpeechSpan) -> Segment:
    """The segment with its end not behind its window's: a timestamp may point into the padding."""
    end = min(segment.end, span.end)
    return replace(segment, start=min(segment.start, end), end=end)
