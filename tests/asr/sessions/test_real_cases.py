"""Inputs that once failed with OpenAI's base weights, each standing for its kind, on recordings of people.

The recordings are those of samples/. The files that showed the faults lie beside the repository, if at all.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from asr.audio import media
from asr.config import Limits
from asr.schema import Samples, Transcript
from tests.asr import real
from tests.asr.real import CASES, SECOND, recording, words

pytestmark = [pytest.mark.weights, pytest.mark.slow, pytest.mark.timeout(600)]

JFK = (
    "and so my fellow americans ask not what your country can do for you ask what you can do for your country"
)


def heard(samples: Samples, **options: Any) -> Transcript:
    return real.transcript("base", samples, "onnxruntime", **options)  # `auto` in float32, and the fastest


def case(name: str) -> Samples:
    path = CASES / name
    if not path.exists():
        pytest.skip(f"{name} is not beside the repository")
    return media.decode(path.read_bytes(), Limits()).samples


def gained(samples: Samples, decibels: float) -> Samples:
    return (samples * 10 ** (decibels / 20)).round().astype(np.int16)


def silence(seconds: float) -> Samples:
    return np.zeros(round(seconds * SECOND), np.int16)


def noise(seconds: float, decibels: float, colour: float = 0.0, seed: int = 0) -> Samples:
    """Noise of this RMS level in dBFS; colour 0 is white, 1 pink, 2 brown."""
    count = round(seconds * SECOND)
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(count))
    spectrum /= np.maximum(np.arange(len(spectrum)), 1) ** (colour / 2)
    wave = np.fft.irfft(spectrum, count)
    return np.clip(wave / wave.std() * 32_768 * 10 ** (decibels / 20), -32_768, 32_767).astype(np.int16)


def tone(seconds: float, decibels: float, hertz: float) -> Samples:
    wave = np.sin(2 * np.pi * hertz * np.arange(round(seconds * SECOND)) / SECOND)
    return (wave * 32_767 * 10 ** (decibels / 20)).astype(np.int16)


@pytest.mark.parametrize("decibels", [-20, -35, -45])
def test_quiet_speech_is_heard_whole(decibels: float) -> None:
    found = words(heard(gained(recording("jfk.flac"), decibels)).text)
    assert len(set(JFK.split()) - set(found)) <= 2
    assert abs(len(found) - len(JFK.split())) <= 2


def test_of_two_speakers_the_quiet_one_is_heard_too() -> None:
    """35 dB apart and longer than a window, so that the detector decides what is heard."""
    quiet = gained(recording("jfk.flac"), -35)
    parts = [recording("librispeech.flac"), silence(0.5), quiet, silence(0.5), recording("telephone.opus")]
    text = words(heard(np.concatenate(parts), language="en").text)
    assert {"restaurant", "fellow", "country", "retention"} <= set(text)


@pytest.mark.parametrize(
    ("before", "pause_s"),
    [
        (lambda: noise(0.6, -20, 1.0), 2.0),  # a burst, as of a cough
        (lambda: recording("six.mp3"), 1.5),  # a word of English
        (lambda: tone(3.0, -15, 425), 1.0),  # a ring tone
    ],
)
@pytest.mark.parametrize(("name", "language"), [("spanish.ogg", "es"), ("german.flac", "de")])
def test_what_comes_before_the_speech_does_not_decide_the_language(
    before: Any, pause_s: float, name: str, language: str
) -> None:
    samples = np.concatenate([before(), silence(pause_s), recording(name), silence(0.3), recording(name)])
    assert heard(samples).language == language
    assert heard(samples, languages=("en", "fr", language)).language == language


def test_the_language_of_a_long_file_is_that_of_its_speech() -> None:
    samples = np.concatenate([noise(29, -30, 1.0), *[recording("spanish.ogg")] * 4])
    assert heard(samples).language == "es"


NOTHING = {
    "silence": lambda: silence(20),
    "the last bit": lambda: np.random.default_rng(1).integers(-1, 2, 20 * SECOND).astype(np.int16),
    **{f"white {db}": (lambda db=db: noise(20, db)) for db in (-60, -40, -20, -10)},
    **{f"pink {db}": (lambda db=db: noise(20, db, 1.0)) for db in (-60, -30, -10)},
    "brown": lambda: noise(20, -25, 2.0),
    **{f"hum {db}": (lambda db=db: tone(20, db, 50) + tone(20, db - 12, 150)) for db in (-60, -40, -20, -6)},
    "tone": lambda: tone(20, -20, 440),
    "clicks": lambda: np.where(np.arange(20 * SECOND) % 9_000 < 30, 20_000, 0).astype(np.int16),
    "noise that comes and goes": lambda: np.concatenate([noise(3, -50), noise(2, -20, 1.0)] * 4),
    "a minute of noise": lambda: noise(65, -30, 1.0),
}


@pytest.mark.parametrize("name", NOTHING)
def test_where_nobody_speaks_nothing_is_written_and_no_language_told(name: str) -> None:
    found = heard(NOTHING[name]())
    assert (found.text, found.language) == ("", None)


def test_a_file_is_heard_from_its_first_sample() -> None:
    """A second of noise before the speech; the detector's edge must not cost the first word."""
    found = heard(np.concatenate([noise(1, -45), recording("jfk.flac")]))
    assert words(found.text)[:4] == ["and", "so", "my", "fellow"]


def test_slow_speech_is_not_cut_into_scraps() -> None:
    """Phrases with pauses of five seconds: as few windows as hold them, and every phrase."""
    phrases = [recording("librispeech.flac"), recording("noisy.flac"), recording("jfk.flac")]
    samples = np.concatenate([part for phrase in phrases for part in (phrase, silence(5))] * 2)
    found = heard(samples, language="en")
    assert found.stats.windows - sum(count for _, count in found.stats.fallbacks) <= 4
    text = words(found.text)
    assert [text.count(word) for word in ("restaurant", "train", "americans")] == [2, 2, 2]


@pytest.mark.parametrize("name", ["jfk.flac", "telephone.opus", "spanish.ogg"])
def test_words_segments_and_cues_stay_inside_the_audio_and_rise(name: str) -> None:
    samples = np.concatenate([silence(2), recording(name)])
    for options in ({}, {"long_form": "sequential"}):
        found = heard(samples, granularities=("segment", "word"), **options)
        edges = [edge for s in found.segments for w in s.words for edge in (w.start, w.end)]
        assert edges == sorted(edges)
        assert all(s.end <= len(samples) for s in found.segments)
        assert edges[-1] <= len(samples)
    first = heard(samples).segments[0]
    assert first.start > 1.5 * SECOND  # the silence in front is no part of it


def test_a_laugh_gives_no_prompt_back() -> None:
    prompt = "The assistant is called Jarvix."
    assert "jarvix" not in heard(case("laugh.mp3"), prompt=prompt).text.lower()


def test_noise_gives_no_prompt_back() -> None:
    burst = np.concatenate([noise(0.2, -50), noise(0.4, -15, 1.0), noise(0.4, -50)])
    assert heard(burst, prompt="The assistant is called Jarvix.").text == ""


def test_a_laugh_before_spanish() -> None:
    right = "esta es una grabación de librivox todas las grabaciones de librivox son del dominio público"
    for options in ({}, {"languages": ("es", "fr", "de")}):
        found = heard(case("laugh_then_es.flac"), **options)
        assert (found.language, " ".join(words(found.text))) == ("es", right)


def test_speech_at_minus_seventy_decibels() -> None:
    text = words(heard(case("quiet50.flac")).text)
    assert text[:4] == ["and", "so", "my", "fellow"]
    assert len(text) >= 21


def test_what_follows_the_last_timestamp_of_a_radio_call() -> None:
    last = heard(case("apollo_tail.flac"), language="en").segments[-1]
    assert words(last.text)[-3:] == ["okay", "no", "problem"]
    assert 12.5 * SECOND < last.start < last.end < 15.5 * SECOND


def test_a_call_that_no_temperature_reads_is_not_the_hottest_guess() -> None:
    found = heard(case("apollo_bit.flac"))
    assert all(segment.avg_logprob > -1.2 for segment in found.segments)


def test_no_cue_of_sequential_ends_behind_the_audio() -> None:
    samples = case("g_audio_silence_padding.flac")
    found = heard(samples, long_form="sequential")
    assert found.segments
    assert all(segment.end <= len(samples) for segment in found.segments)
