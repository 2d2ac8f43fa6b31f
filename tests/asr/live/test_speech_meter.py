"""The detector of a stream hears what the detector of files hears."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from asr.audio import media
from asr.audio.vad import speech_probs
from asr.config import Limits
from asr.live.speech_meter import SpeechMeter
from asr.schema import Samples

SAMPLES = Path(__file__).resolve().parents[3] / "samples"


def metered(samples: Samples, size: int) -> np.ndarray:
    meter = SpeechMeter()
    return np.concatenate([meter.hear(samples[i : i + size]) for i in range(0, len(samples), size)])


@pytest.fixture(scope="module")
def harvard() -> Samples:
    return media.decode((SAMPLES / "harvard.wav").read_bytes(), Limits()).samples


def test_it_does_not_matter_how_the_audio_comes(harvard: Samples) -> None:
    whole = metered(harvard, len(harvard))
    assert np.allclose(metered(harvard, 333), whole, atol=1e-4)
    assert len(whole) == len(harvard) // 512


@pytest.mark.parametrize("gain", [1.0, 0.01])
def test_it_agrees_with_the_detector_of_files(harvard: Samples, gain: float) -> None:
    samples = (harvard * gain).astype(np.int16)
    live, offline = metered(samples, 800), speech_probs(samples)
    share = np.mean((live > 0.5) == (offline[: len(live)] > 0.5))
    assert share >= 0.97


def test_silence_and_noise_are_no_speech() -> None:
    assert metered(np.zeros(160_000, np.int16), 800).max() < 0.2
    noise = (np.random.default_rng(3).standard_normal(160_000) * 300).astype(np.int16)
    assert (metered(noise, 800)[16:] > 0.5).mean() < 0.05
