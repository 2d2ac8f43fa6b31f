"""Word times of the two synthesisers; skipped where they are not installed."""

from __future__ import annotations

import ctypes.util
import random

import numpy as np
import pytest

from training.codec import coded
from training.speech import SAMPLE_RATE, spans_from_starts
from training.voices import Voice

WORDS = ["two", "blue", "fish", "swam", "in", "the", "tank"]
VOICES = {
    "espeak-ng": Voice("espeak-ng", "en-us", 170, 50, 1.0),
    "flite": Voice("flite", "slt", 1.0, 50, 1.0),
}


@pytest.mark.parametrize("engine", VOICES)
def test_every_word_has_a_time_inside_the_speech(engine: str) -> None:
    if not ctypes.util.find_library(engine):
        pytest.skip(f"{engine} is not installed")
    speech = VOICES[engine].speak(WORDS)
    assert [word for word, _, _ in speech.words] == WORDS
    times = [time for _, start, end in speech.words for time in (start, end)]
    assert times == sorted(times)
    assert 1.0 < len(speech.samples) / SAMPLE_RATE < 5.0
    assert times[-1] <= len(speech.samples) / SAMPLE_RATE + 0.01


def test_a_missing_start_shares_the_gap_by_spelling() -> None:
    samples = np.full(SAMPLE_RATE, 0.5, np.float32)
    spans = spans_from_starts(["of", "the", "sea"], [0.0, None, 0.5], samples, SAMPLE_RATE)
    assert [round(start, 3) for _, start, _ in spans] == [0.0, 0.2, 0.5]
    assert spans[-1][2] == 1.0


def test_codecs_keep_the_time() -> None:
    time = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    chirp = (0.3 * np.sin(2 * np.pi * (200 + 600 * time) * time)).astype(np.float32)
    for seed in range(4):
        received, _ = coded(random.Random(seed), chirp)
        assert len(received) == len(chirp)
        assert np.corrcoef(chirp[800:-800], received[800:-800])[0, 1] > 0.9
