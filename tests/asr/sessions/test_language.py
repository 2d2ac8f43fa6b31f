"""The language of a file: weighed over its speech, never taken from what came first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest

from asr.audio.levels import FRAME_SAMPLES
from asr.audio.stretches import Stretch, plan_stretches
from asr.audio.windows import window_with_silence
from asr.constants import SAMPLE_RATE
from asr.errors import AsrError
from asr.request.options import RequestOptions
from asr.schema import Hypothesis, SpeechSpan, Window
from asr.sessions.driver import drive
from asr.sessions.ladder import Climb
from asr.sessions.language import LanguageHearing, Vote, likeliest_language, runs_alone
from asr.sessions.parallel import ParallelSession
from asr.sessions.work import Work
from tests.asr.asked import asked
from tests.asr.scripted import SPEC, TOKENIZER

Probs = Mapping[str, float]


def vote(probs: Probs, weight: float, *, is_trusted: bool = True) -> Vote:
    return Vote(tuple(probs.items()), weight, is_trusted)


def test_votes_count_by_their_seconds() -> None:
    laugh, speech = vote({"en": 0.9, "es": 0.1}, 0.7), vote({"es": 0.8, "en": 0.2}, 8.0)
    language, probability = likeliest_language([laugh, speech])
    assert language == "es"
    assert probability == pytest.approx((0.7 * 0.1 + 8 * 0.8) / 8.7)


def test_a_rejected_or_silent_window_decides_only_where_it_is_alone() -> None:
    music = vote({"en": 1.0}, 29.0, is_trusted=False)
    assert likeliest_language([music, vote({"hi": 0.6, "ur": 0.4}, 2.0)])[0] == "hi"
    assert likeliest_language([music])[0] == "en"


def seconds(*edges: tuple[float, float]) -> list[SpeechSpan]:
    return [SpeechSpan(round(a * SAMPLE_RATE), round(b * SAMPLE_RATE)) for a, b in edges]


def test_runs_of_speech_are_heard_alone_longest_first_and_without_scraps() -> None:
    spans = seconds((0.2, 0.8), (5, 8), (8.3, 12), (20, 24))
    assert runs_alone(spans, 30 * SAMPLE_RATE) == seconds((5, 12), (20, 24))
    assert runs_alone(seconds((1, 4), (4.5, 9)), 30 * SAMPLE_RATE) == []  # one run: it has been heard


class Polyglot:
    """Hears languages by the loudest sample of a window: value → probabilities, and how sure of the text."""

    spec = SPEC
    max_batch_size = 8
    no_speech_prob = 0.1

    def __init__(self, hears: Mapping[int, tuple[Probs, float]]) -> None:
        self.hears = hears
        self.windows: list[Window] = []

    def most_together(self, frames: int) -> int:
        return self.max_batch_size

    def decode(self, windows: Sequence[Window], on_found: object = None) -> list[Hypothesis | AsrError]:
        self.windows += windows
        return [self._one(window) for window in windows]

    def _one(self, window: Window) -> Hypothesis:
        options = window.options
        probs, avg_logprob = self.hears[int(window.samples.max())]
        allowed = {code: p for code, p in probs.items() if not options.languages or code in options.languages}
        ranked = tuple(sorted(allowed.items(), key=lambda pair: -pair[1]))
        language = options.language or ranked[0][0]
        text = () if options.task == "detect_language" else tuple(TOKENIZER.encode(f" {language}"))
        asked = options.language is None
        probs_told = ranked if asked else ()
        return Hypothesis(text, avg_logprob, self.no_speech_prob, options.temperature, language, probs_told)


def session_over(
    spans: Sequence[SpeechSpan], values: Sequence[int], end_s: float, **options: object
) -> ParallelSession:
    samples = np.zeros(round(end_s * SAMPLE_RATE), np.int16)
    for span, value in zip(spans, values, strict=True):
        samples[span.start : span.end] = value
    probs = np.full(-(-len(samples) // FRAME_SAMPLES), 0.9, np.float32)
    bounds = SpeechSpan(0, len(samples))
    return ParallelSession(
        samples,
        spans,
        lambda limit: plan_stretches(spans, bounds, limit, probs),
        asked(**options),
        SPEC,
    )


SURE = -0.2


def test_a_file_in_one_window_is_decoded_once_where_its_language_is_plain() -> None:
    engine = Polyglot({5: ({"fr": 0.9, "en": 0.1}, SURE)})
    session = session_over(seconds((1, 9)), [5], 12)
    drive(engine, [session])
    assert (session.transcript().language, len(engine.windows)) == ("fr", 1)


def test_an_unsure_window_is_heard_again_run_by_run_and_decoded_in_the_language_found() -> None:
    """A greeting of 2 s in English, 9 s of French: together Whisper takes them for English."""
    hears = {
        5: ({"en": 0.5, "fr": 0.45}, SURE),  # both together
        4: ({"en": 0.95, "fr": 0.05}, SURE),  # the greeting alone
    }
    engine = Polyglot(hears)
    spans = seconds((1, 3), (6, 15))
    session = session_over(spans, [4, 5], 20)
    original = engine._one

    def one(window: Window) -> Hypothesis:
        found = original(window)
        if window.options.task == "detect_language" and window.samples.max() == 5:
            return replace(found, language="fr", language_probs=(("fr", 0.97), ("en", 0.03)))
        return found

    engine._one = one  # type: ignore[method-assign]
    drive(engine, [session])
    tasks = [window.options.task for window in engine.windows]
    assert tasks == ["transcribe", "detect_language", "detect_language", "transcribe"]
    assert engine.windows[-1].options.language == "fr"
    assert session.transcript().text == " fr"
    assert session.transcript().stats.windows == 4


def test_a_long_file_listens_to_thirty_seconds_before_it_decides() -> None:
    """Its first window is a jingle that the guards reject; speech follows."""
    hears = {
        3: ({"en": 0.99, "hi": 0.01}, -3.0),
        5: ({"hi": 0.8, "ur": 0.2}, SURE),
    }
    spans = seconds((1, 26), (30, 58), (62, 90))
    engine = Polyglot(hears)
    session = session_over(spans, [3, 5, 5], 95, temperatures=(0.0,))
    drive(engine, [session])
    assert session.transcript().language == "hi"
    assert {window.options.language for window in engine.windows} == {None, "hi"}


def test_candidates_restrict_what_is_weighed() -> None:
    engine = Polyglot({5: ({"en": 0.7, "es": 0.2, "de": 0.1}, SURE)})
    session = session_over(seconds((1, 9)), [5], 12, languages=("es", "de"))
    drive(engine, [session])
    assert session.transcript().language == "es"


def test_speech_that_cannot_be_read_has_a_language_all_the_same() -> None:
    engine = Polyglot({5: ({"hi": 0.9, "ur": 0.1}, -3.0)})
    engine.no_speech_prob = 0.9
    session = session_over(seconds((1, 4)), [5], 6, temperatures=(0.0,))
    drive(engine, [session])
    assert (session.transcript().text, session.transcript().language) == ("", "hi")


@pytest.mark.parametrize(("language", "reported"), [(None, None), ("hi", "hi")])
def test_a_file_without_speech_has_no_language_of_its_own(language: str | None, reported: str | None) -> None:
    session = session_over([], [], 5, language=language)
    drive(Polyglot({}), [session])
    assert (session.transcript().text, session.transcript().language) == ("", reported)


@pytest.mark.parametrize(("avg_logprob", "num_heard"), [(-2.0, 2), (SURE, 6)])
def test_noise_is_heard_once_whatever_languages_its_windows_seem_to_be_in(
    avg_logprob: float, num_heard: int
) -> None:
    """But where a window has text to be believed, the file's language is looked for as of any other."""
    engine = Polyglot({5: ({"en": 0.5, "cy": 0.2}, -2.0), 6: ({"cy": 0.5, "en": 0.3}, avg_logprob)})
    parts = seconds((0, 30), (30, 55))
    samples = np.zeros(parts[-1].end, np.int16)
    for part, value in zip(parts, (5, 6), strict=True):
        samples[part.start : part.end] = value
    stretches = tuple(Stretch(part, part, is_doubtful=True) for part in parts)
    session = ParallelSession(samples, (), lambda limit: stretches, asked(), SPEC)
    drive(engine, [session])
    assert len(engine.windows) == num_heard
    assert bool(session.transcript().text) is (avg_logprob == SURE)


def test_what_is_unsure_and_cannot_be_parted_is_heard_as_openai_whisper_hears_it() -> None:
    """Its vote replaces the first one: openai-whisper detects with silence behind the speech."""
    span = SpeechSpan(0, 4 * SAMPLE_RATE)
    work = Work(Stretch(span, span), Climb(Window(np.zeros(4 * SAMPLE_RATE, np.int16), 400)))
    hearing = LanguageHearing([work], [span])
    options = RequestOptions()
    hearing.hear(work, unsure("ta", 0.5), options, TOKENIZER)
    samples = np.zeros(9 * SAMPLE_RATE, np.int16)
    assert hearing.decision(lambda run: window_with_silence(samples, run, hearing.detection(options))) is None
    [again] = hearing.alone
    assert (again.climb.window.num_frames, len(again.climb.window.samples)) == (3_000, 4 * SAMPLE_RATE)
    assert again.climb.window.options.task == "detect_language"
    hearing.hear(again, unsure("ml", 0.4), options, TOKENIZER)
    assert hearing.decision(lambda run: again.climb.window) == ("ml", 0.4)


def unsure(language: str, probability: float) -> Hypothesis:
    return Hypothesis((), -0.3, 0.1, 0.0, language, ((language, probability),))
