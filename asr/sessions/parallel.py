"""Long form by speech spans: all windows of an utterance can be decoded side by side.

Each stretch of the utterance is a window of its own with every guard; times stay on the utterance's clock.
The rest that a window does not cover (its token cap was reached, a sentence did not end, or speech follows
its last timestamp) becomes a stretch of its own and is decoded again: no detected speech is dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from asr.audio.stretches import Stretch, speech_in
from asr.audio.windows import quietest_cut, shortened, window_of, window_seconds, window_with_silence
from asr.constants import HOP_LENGTH, SAMPLE_RATE
from asr.engine import ModelSpec
from asr.errors import AsrError
from asr.request.options import RequestOptions
from asr.schema import Hypothesis, Samples, Segment, SpeechSpan, Transcript
from asr.sessions.base import Offer, Tally
from asr.sessions.echo import is_echo
from asr.sessions.ladder import Climb, Verdict, decoding_options, is_believed, judge
from asr.sessions.language import LanguageHearing
from asr.sessions.placing import placed_segments
from asr.sessions.prompting import hotword_tokens, prompt_tokens
from asr.sessions.work import Work
from asr.text.guards import is_high
from asr.text.slicing import WindowSlices, slice_tokens
from asr.text.tokenizer import TIMESTAMPS, tokenizer_for

# a limit in samples → the utterance's stretches, none longer
StretchPlanner = Callable[[int], tuple[Stretch, ...]]

# the least speech that is worth another window: behind an unfinished sentence, and behind a finished one
MIN_REST_SAMPLES = SAMPLE_RATE // 10
MIN_FOLLOWING_SAMPLES = SAMPLE_RATE
# Whisper often ends a sentence before its last sound: up to this much speech behind it still belongs to it
OWN_TAIL_SAMPLES = 2 * SAMPLE_RATE
# the least speech between two segments that is decoded again: the model passes over a far quieter voice
MIN_SKIPPED_SAMPLES = 3 * SAMPLE_RATE
# a window whose text has no usable timestamp at its token cap is halved, down to this length
MIN_HALF_SAMPLES = 2 * SAMPLE_RATE
# a shorter rest has too few words for a mean probability, and higher temperatures only invent others
MIN_LADDER_SAMPLES = 2 * SAMPLE_RATE
# after this many re-seeks inside one stretch its rest is decoded without timestamps, which always ends
MAX_RESEEKS = 8


class ParallelSession:
    """One utterance cut at its pauses. An unknown language is decided by its first windows."""

    def __init__(
        self,
        samples: Samples,
        spans: Sequence[SpeechSpan],
        planner: StretchPlanner,
        options: RequestOptions,
        spec: ModelSpec,
    ) -> None:
        self.error: AsrError | None = None
        self._samples = samples
        self._spans = tuple(spans)
        self._planner = planner
        self._options = options
        self._tokenizer = tokenizer_for(spec.multilingual, spec.num_languages)
        self._language = options.decoding.language or (None if spec.multilingual else "en")
        self._prompt = hotword_tokens(options, self._tokenizer) + prompt_tokens(options, self._tokenizer)
        self._prompt_text = " ".join((*options.hotwords, options.prompt or ""))
        self._short_windows = spec.short_windows
        self._tally = Tally()
        self._emitted = 0  # works whose segments have been taken
        self._keys: dict[int, Work] = {}  # windows that are out
        self._next_key = 0
        self._works = [self._work(stretch) for stretch in self._planned()]
        self._hearing: LanguageHearing | None = None
        if self._language is None and self._works:
            self._hearing = LanguageHearing(self._works, self._spans)

    @property
    def done(self) -> bool:
        is_decided = self._hearing is None
        return self.error is not None or (is_decided and all(work.is_done for work in self._works))

    def offers(self) -> list[Offer]:
        offers = []
        for work in self._works if self._hearing is None else self._hearing.works:
            if not work.is_out and not work.is_done and work.first is None:
                work.is_out = True
                self._keys[self._next_key] = work
                offers.append(Offer(self._next_key, work.climb.window))
                self._next_key += 1
        return offers

    def accept(self, offer: Offer, outcome: Hypothesis | AsrError) -> None:
        work = self._keys.pop(offer.key)
        work.is_out = False
        if isinstance(outcome, AsrError):
            self.error = outcome
        elif self._hearing is None:
            self._take(work, outcome)
        else:
            self._hear(self._hearing, work, outcome)

    def take_segments(self) -> tuple[Segment, ...]:
        new: list[Segment] = []
        while self._emitted < len(self._works) and self._works[self._emitted].is_done:
            new.extend(self._works[self._emitted].segments)
            self._emitted += 1
        return tuple(new)

    def transcript(self) -> Transcript:
        segments = tuple(segment for work in self._works for segment in work.segments)
        text = "".join(segment.text for segment in segments)
        is_speech = bool(segments) or sum(s.end - s.start for s in self._spans) >= MIN_FOLLOWING_SAMPLES
        language = self._language if is_speech else self._options.decoding.language
        stats = self._tally.stats()
        return Transcript(text, segments, language, self._options.decoding.task, len(self._samples), stats)

    def _planned(self) -> tuple[Stretch, ...]:
        return self._planner(int(window_seconds(self._language) * SAMPLE_RATE))

    def _work(self, stretch: Stretch, num_reseeks: int = 0, *, prompted: bool = True) -> Work:
        options = decoding_options(self._options, self._language, self._prompt if prompted else ())
        if num_reseeks > MAX_RESEEKS:
            options = replace(options, without_timestamps=True)
        if options.without_timestamps:
            # a hot sample holds some all the same, and their times mean nothing
            options = replace(options, suppress_tokens=(*options.suppress_tokens, TIMESTAMPS))
        window = window_of(self._samples, stretch.span, options)
        climb = Climb(shortened(window) if self._short_windows else window)
        return Work(stretch, climb, num_reseeks, prompted)

    def _hear(self, hearing: LanguageHearing, work: Work, hypothesis: Hypothesis) -> None:
        """Takes a window's vote for the language; once it is decided, all stretches are decoded in it."""
        hearing.hear(work, hypothesis, self._options, self._tokenizer)
        options = hearing.detection(self._options)
        found = hearing.decision(lambda run: window_with_silence(self._samples, run, options))
        if found is None:
            return
        language, _ = found
        by_span = {each.stretch.span: each for each in hearing.decoded}
        self._hearing, self._language = None, language
        works = [(self._work(stretch), by_span.get(stretch.span)) for stretch in self._planned()]
        self._works = [work for work, _ in works]
        for planned, before in works:
            if before is None or before.first is None:
                continue
            is_as_long = planned.climb.window.encoder_frames == before.climb.window.encoder_frames
            if (before.first.language == language and is_as_long) or hearing.is_noise:
                del by_span[planned.stretch.span]
                self._take(planned, before.first)
        for wasted in (*by_span.values(), *hearing.alone):
            if wasted.first is not None:
                self._tally.add(wasted.first)

    def _take(self, work: Work, hypothesis: Hypothesis) -> None:
        options = self._options
        if work.stretch.is_doubtful or _is_scrap(work):
            options = replace(options, temperatures=options.temperatures[:1])
        verdict = judge(work.climb, hypothesis, options, self._tokenizer, self._tally)
        if isinstance(verdict, Climb):
            work.climb = verdict
        elif verdict.silent or (work.stretch.is_doubtful and not is_believed(verdict)):
            work.is_done = True
        elif work.prompted and is_echo(self._tokenizer.decode(verdict.hypothesis.tokens), self._prompt_text):
            work.climb = self._work(work.stretch, work.num_reseeks, prompted=False).climb
            work.prompted = False
        else:
            work.is_done = True
            self._settle(work, verdict)

    def _settle(self, work: Work, verdict: Verdict) -> None:
        """Takes a decided window: its segments, and the rest to be decoded again."""
        hypothesis, span = verdict.hypothesis, work.stretch.span
        num_frames = work.climb.window.num_frames
        slices = slice_tokens(
            hypothesis.tokens, self._tokenizer.timestamp_begin, num_frames, exact_start=True
        )
        has_no_end = slices.frames == num_frames and not slices.complete  # no timestamp to seek to
        is_loop = is_high(verdict.ratio, self._options.guards.compression_ratio_threshold)
        is_capped = hypothesis.truncated and not hypothesis.looped and not is_loop
        if is_capped and has_no_end and span.end - span.start >= 2 * MIN_HALF_SAMPLES:
            middle = quietest_cut(self._samples, span.start + MIN_HALF_SAMPLES, span.end - MIN_HALF_SAMPLES)
            self._insert_behind(work, [SpeechSpan(span.start, middle), SpeechSpan(middle, span.end)], 0)
            return
        work.segments = placed_segments(slices, verdict, span, self._spans, self._options, self._tokenizer)
        if rest := self._rest(work, slices):
            self._insert_behind(work, [rest], 1)
        if self._options.vad_filter and not work.stretch.is_doubtful:
            self._look_again(work, span.start)

    def _rest(self, work: Work, slices: WindowSlices) -> SpeechSpan | None:
        """The audio behind the window's text, if it is worth another window."""
        span = work.stretch.span
        covered = slices.items[-1].end if slices.complete else slices.frames  # mel frames
        start = min(span.start + covered * HOP_LENGTH, span.end)
        if slices.complete:
            ends = [s.end for s in self._spans if s.start < start <= s.end < start + OWN_TAIL_SAMPLES]
            start = min(max([start, *ends]), span.end)
        rest = SpeechSpan(start, span.end)
        least = MIN_FOLLOWING_SAMPLES if slices.complete else MIN_REST_SAMPLES
        is_unknown = work.stretch.is_doubtful and not slices.complete
        left = rest.end - rest.start if is_unknown else self._speech_in(rest)
        return rest if left >= least else None

    def _look_again(self, work: Work, edge: int) -> None:
        """Adds a stretch where much speech lies between two segments of a window.

        edge: where the text before the window's first segment ends.
        """
        for index, segment in enumerate(work.segments):
            gap = SpeechSpan(edge, max(edge, segment.start))
            edge = max(edge, segment.end)
            if self._speech_in(gap) < MIN_SKIPPED_SAMPLES:
                continue
            skipped = self._work(Stretch(gap, gap, is_doubtful=True), prompted=work.prompted)
            following = Work(work.stretch, work.climb, is_done=True, segments=work.segments[index:])
            work.segments = work.segments[:index]
            place = self._works.index(work) + 1
            self._works[place:place] = [skipped, following]
            self._look_again(following, edge)
            return

    def _speech_in(self, span: SpeechSpan) -> int:
        return speech_in(self._spans, span)

    def _insert_behind(self, work: Work, parts: Sequence[SpeechSpan], more_reseeks: int) -> None:
        index = self._works.index(work) + 1
        doubtful = work.stretch.is_doubtful
        self._works[index:index] = [
            self._work(
                Stretch(part, part, is_doubtful=doubtful),
                work.num_reseeks + more_reseeks,
                prompted=work.prompted,
            )
            for part in parts
        ]


def _is_scrap(work: Work) -> bool:
    """Whether higher temperatures would only invent more text."""
    span = work.stretch.span
    return work.num_reseeks > 0 and span.end - span.start < MIN_LADDER_SAMPLES
