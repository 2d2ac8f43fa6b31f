"""The parallel session, over utterances whose samples spell their own words.

Word k is a run of samples of value k + 1. The engine of these tests reads the runs in a window and answers as
Whisper would: `<|start|> k<|end|>` each. So nothing may be lost, doubled, reordered or moved, whatever the
spans, caps and endings are.
"""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.audio.levels import FRAME_SAMPLES
from asr.audio.stretches import clip_spans, plan_stretches
from asr.constants import SAMPLE_RATE, SAMPLES_PER_POSITION
from asr.errors import AsrError, EngineFailure
from asr.render.formats import render
from asr.request.options import GuardOptions
from asr.schema import Hypothesis, Samples, SpeechSpan, TokenAlignment, Window
from asr.sessions.driver import drive
from asr.sessions.parallel import ParallelSession, StretchPlanner
from asr.text.slicing import kept_text_tokens
from tests.asr.asked import asked
from tests.asr.scripted import SPEC, TOKENIZER

TICK = SAMPLES_PER_POSITION
BEGIN = TOKENIZER.timestamp_begin


@dataclass
class ReadingEngine:
    """Reads runs of equal samples. `cap` words at most are told; `ending` is how a capped window ends."""

    cap: int = 100
    ending: str = "open"  # "open": a next sentence begins; "cut": the token cap; "bare": no timestamps at all
    language: str = "en"
    batches: list[list[Window]] = field(default_factory=list)
    spec = SPEC
    max_batch_size = 64

    def most_together(self, frames: int) -> int:
        return self.max_batch_size

    def decode(self, windows: Sequence[Window], on_found: object = None) -> list[Hypothesis | AsrError]:
        self.batches.append(list(windows))
        return [self._one(window) for window in windows]

    def _one(self, window: Window) -> Hypothesis:
        runs = runs_of(window.samples[window.left_context :])
        cap = len(runs) if window.options.without_timestamps else self.cap
        told, rest = runs[:cap], runs[cap:]
        tokens: list[int] = []
        starts: list[int] = []  # of each text token, in ticks
        for start, end, value in told:
            text = TOKENIZER.encode(f" {value - 1}")
            starts += [start // TICK] * len(text)
            bare = window.options.without_timestamps or (rest and self.ending == "bare")
            tokens += text if bare else [BEGIN + start // TICK, *text, BEGIN + end // TICK]
        kept = kept_text_tokens(tokens, BEGIN, TOKENIZER.eot)
        last = told[-1][1] // TICK if told else 0
        alignment = TokenAlignment(kept, (*starts, last), (0.9,) * len(kept))
        if rest and self.ending == "open":
            tokens.append(BEGIN + rest[0][0] // TICK)
        elif rest and self.ending == "cut":
            tokens += [BEGIN + rest[0][0] // TICK, *TOKENIZER.encode(" half a")]
        return Hypothesis(
            tokens=tuple(tokens),
            avg_logprob=-0.1,
            no_speech_prob=0.0,
            temperature=window.options.temperature,
            language=window.options.language or self.language,
            truncated=bool(rest) and self.ending != "open",
            alignment=alignment if window.options.word_timestamps else None,
        )


def runs_of(samples: Samples) -> list[tuple[int, int, int]]:
    """(start, end, value) of each run of a value above 0."""
    edges = np.flatnonzero(np.diff(samples, prepend=0, append=0))
    pairs = itertools.pairwise(edges)
    return [(int(a), int(b), int(samples[a])) for a, b in pairs if samples[a]]


def utterance(rng: random.Random, num_words: int) -> tuple[Samples, list[SpeechSpan]]:
    """Words of 0.2 to 2 s with pauses between, on whole ticks, and the speech spans over them."""
    parts, words, position = [], [], 0
    for k in range(num_words):
        pause = TICK * rng.choice([5, 20, 60, 250]) if k else TICK * rng.randrange(100)
        length = TICK * rng.randrange(10, 100)
        parts += [np.zeros(pause, np.int16), np.full(length, k + 1, np.int16)]
        words.append(SpeechSpan(position + pause, position + pause + length))
        position += pause + length
    parts.append(np.zeros(TICK * 30, np.int16))
    spans: list[SpeechSpan] = []
    for word in words:  # short pauses do not end a span, as with the real detector
        near = (
            spans
            and word.start - spans[-1].end <= 20 * TICK
            and word.end - spans[-1].start < 20 * SAMPLE_RATE
        )
        spans[-1:] = [SpeechSpan(spans[-1].start, word.end)] if near else [*spans[-1:], word]
    return np.concatenate(parts), spans


def plan_for(samples: Samples, spans: Sequence[SpeechSpan]) -> StretchPlanner:
    frames = np.zeros(-(-len(samples) // FRAME_SAMPLES) * FRAME_SAMPLES, np.int16)
    frames[: len(samples)] = samples
    probs = (frames.reshape(-1, FRAME_SAMPLES) > 0).any(1).astype(np.float32)
    return lambda limit: plan_stretches(spans, SpeechSpan(0, len(samples)), limit, probs)


def with_pauses(
    expected: Sequence[tuple[int, int, str]], spans: Sequence[SpeechSpan]
) -> list[tuple[int, int, str]]:
    """The words, as long as the alignment has them: to the next word, never out of their speech."""
    words = []
    for (start, end, text), following in itertools.zip_longest(expected, expected[1:]):
        [span] = [span for span in spans if span.start <= start < span.end]
        words.append((start, min(following[0], span.end) if following else end, text))
    return words


def transcribe(
    engine: ReadingEngine, samples: Samples, spans: list[SpeechSpan], **changes: object
) -> ParallelSession:
    options = asked(**{"language": "en", **changes})
    session = ParallelSession(samples, spans, plan_for(samples, spans), options, SPEC)
    drive(engine, [session])
    assert session.error is None
    assert session.done
    return session


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    num_words=st.integers(1, 60),
    cap=st.sampled_from([1, 2, 5, 100]),
    ending=st.sampled_from(["open", "cut"]),
    words=st.booleans(),
)
def test_every_word_is_told_once_in_order_and_in_place(
    seed: int, num_words: int, cap: int, ending: str, words: bool
) -> None:
    samples, spans = utterance(random.Random(seed), num_words)
    granularities = ("segment", "word") if words else ("segment",)
    session = transcribe(ReadingEngine(cap, ending), samples, spans, granularities=granularities)
    transcript = session.transcript()
    if cap > 1:  # below that the rest of a stretch may be decoded without timestamps
        expected = [(start, end, f" {value - 1}") for start, end, value in runs_of(samples)]
        if words:  # openai-whisper's rules shorten a long word behind a pause from its front
            told = [word for segment in transcript.segments for word in segment.words]
            assert [word.text for word in told] == [text for _, _, text in expected]
            assert all(
                a - TICK < word.start < b + TICK and word.end < b + TICK
                for word, (a, b, _) in zip(told, with_pauses(expected, spans), strict=True)
            )
        else:
            told = [(s.start, s.end, s.text) for s in transcript.segments]
            assert [text for _, _, text in told] == [text for _, _, text in expected]
            for (start, end, _), (a, b, _) in zip(told, expected, strict=True):
                assert abs(start - a) <= TICK and abs(end - b) <= TICK  # a window need not begin on a tick
    assert transcript.text == "".join(f" {k}" for k in range(num_words))


@pytest.mark.parametrize("seed", range(8))
def test_a_cap_without_timestamps_halves_the_window(seed: int) -> None:
    samples, spans = utterance(random.Random(seed), 40)
    told = transcribe(ReadingEngine(4, "bare"), samples, spans).transcript().text.split()
    assert set(map(int, told)) >= set(range(40))  # a word on a cut may be told on both sides


def test_each_token_brings_its_bytes_and_its_logprob() -> None:
    samples, spans = utterance(random.Random(9), 12)

    class Sure(ReadingEngine):
        def _one(self, window: Window) -> Hypothesis:
            hypothesis = super()._one(window)
            return replace(hypothesis, token_logprobs=tuple(-0.01 * k for k in range(len(hypothesis.tokens))))

    transcript = transcribe(Sure(), samples, spans, token_logprobs=True).transcript()
    for segment in transcript.segments:
        assert len(segment.tokens) == len(segment.token_logprobs) == len(segment.token_bytes) > 2
        assert b"".join(segment.token_bytes).decode() == segment.text
    body, _ = render(transcript, asked(token_logprobs=True))
    assert "".join(entry["token"] for entry in json.loads(body)["logprobs"]) == transcript.text


def test_segments_come_in_order_while_windows_finish_in_any_order() -> None:
    samples, spans = utterance(random.Random(3), 60)
    session = ParallelSession(samples, spans, plan_for(samples, spans), asked(language="en"), SPEC)
    engine, taken = ReadingEngine(), []
    offers = session.offers()
    assert len(offers) > 2
    for offer in reversed(offers):
        session.accept(offer, engine.decode([offer.window])[0])
        taken += session.take_segments()
    assert [segment.text for segment in taken] == [f" {k}" for k in range(60)]
    assert session.take_segments() == ()


def test_the_first_windows_tell_the_language_of_all() -> None:
    samples, spans = utterance(random.Random(4), 60)
    engine = ReadingEngine(language="hi")
    session = transcribe(engine, samples, spans, language=None)
    assert session.transcript().language == "hi"
    assert {window.options.language for window in engine.batches[0]} == {None}
    assert {window.options.language for batch in engine.batches[1:] for window in batch} == {"hi"}
    assert session.transcript().text.split() == [str(k) for k in range(60)]


def test_all_windows_share_batches() -> None:
    samples, spans = utterance(random.Random(5), 60)
    engine = ReadingEngine()
    transcribe(engine, samples, spans)
    assert len(engine.batches[0]) > 2
    assert len(engine.batches) == 1


def test_no_speech_means_no_windows() -> None:
    engine = ReadingEngine()
    session = transcribe(engine, np.zeros(SAMPLE_RATE, np.int16), [], language=None)
    assert (session.transcript().text, session.transcript().segments, engine.batches) == ("", (), [])


def test_a_rejected_window_climbs_the_ladder_alone() -> None:
    samples, spans = utterance(random.Random(6), 60)

    class Doubtful(ReadingEngine):
        def _one(self, window: Window) -> Hypothesis:
            hypothesis = super()._one(window)
            doubtful = window.samples.max() < 30 and window.options.temperature < 0.4
            return replace(hypothesis, avg_logprob=-2.0) if doubtful else hypothesis

    engine = Doubtful()
    session = transcribe(engine, samples, spans)
    again = [w.options.temperature for batch in engine.batches[1:] for w in batch]
    assert sorted(again) == sorted([0.2, 0.4] * (len(again) // 2))
    assert again
    assert dict(session.transcript().stats.fallbacks) == {"logprob": len(again)}
    assert session.transcript().text.split() == [str(k) for k in range(60)]


def test_silence_is_dropped() -> None:
    samples, spans = utterance(random.Random(7), 10)

    class Silent(ReadingEngine):
        def _one(self, window: Window) -> Hypothesis:
            return replace(super()._one(window), no_speech_prob=0.95, avg_logprob=-1.5)

    transcript = transcribe(Silent(), samples, spans).transcript()
    assert transcript.text == ""
    assert transcript.stats.silent_windows == transcript.stats.windows > 0


def test_guards_off_keep_everything() -> None:
    samples, spans = utterance(random.Random(7), 10)

    class Bad(ReadingEngine):
        def _one(self, window: Window) -> Hypothesis:
            return replace(super()._one(window), no_speech_prob=0.95, avg_logprob=-9.5, looped=True)

    transcript = transcribe(Bad(), samples, spans, guards=GuardOptions(None, None, None)).transcript()
    assert transcript.text.split() == [str(k) for k in range(10)]


def test_an_engine_error_ends_the_session() -> None:
    samples, spans = utterance(random.Random(8), 30)

    class Broken(ReadingEngine):
        def decode(self, windows: Sequence[Window], on_found: object = None) -> list[Hypothesis | AsrError]:
            return [EngineFailure("out of luck")] * len(windows)

    session = ParallelSession(samples, spans, plan_for(samples, spans), asked(language="en"), SPEC)
    drive(Broken(), [session])
    assert isinstance(session.error, EngineFailure)
    assert session.done


@given(st.lists(st.integers(0, 100), min_size=2, max_size=12), st.integers(0, 100), st.integers(0, 100))
def test_clipping_keeps_what_is_inside(points: list[int], start: int, end: int) -> None:
    points = sorted(points)
    spans = [SpeechSpan(a, b) for a, b in zip(points[::2], points[1::2], strict=False) if a < b]
    inside = {i for span in clip_spans(spans, start, end) for i in range(span.start, span.end)}
    assert inside == {i for span in spans for i in range(span.start, span.end) if start <= i < end}
