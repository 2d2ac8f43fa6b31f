"""The utterance's maximum equals that of openai-whisper's whole spectrogram, without torch."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import whisper

from asr.audio.mel import CHUNK_FRAMES, log_mel_max
from tests.asr.checkpoints import random_audio

ROOT = Path(__file__).parents[3]


def openai_max(samples, n_mels):
    """Maximum before openai-whisper's clamp and scale: undone here."""
    mel = whisper.log_mel_spectrogram(samples.astype(np.float32) / 32_768, n_mels, padding=480_000)
    return float(mel.max()) * 4 - 4


@pytest.mark.parametrize("n_mels", [80, 128])
@pytest.mark.parametrize("seconds", [0.011, 0.3, 7.003, 2 * CHUNK_FRAMES / 100 + 1.77])
def test_equals_openai_whisper(seconds, n_mels):
    samples = random_audio(seconds, seed=5)
    assert log_mel_max(samples, n_mels) == pytest.approx(openai_max(samples, n_mels), abs=2e-6)


@pytest.mark.parametrize("position", [0, 10, 24_000, 47_999])
def test_a_click_anywhere_counts(position):
    samples = np.zeros(48_000, dtype=np.int16)
    samples[position] = 20_000
    assert log_mel_max(samples, 80) == pytest.approx(openai_max(samples, 80), abs=1e-5)


def test_silence_and_nothing():
    assert log_mel_max(np.zeros(5_000, dtype=np.int16), 80) == pytest.approx(-10)
    assert log_mel_max(np.zeros(0, dtype=np.int16), 80) == pytest.approx(-10)


def test_unknown_number_of_mels():
    with pytest.raises(ValueError, match="n_mels is 64"):
        log_mel_max(np.zeros(5_000, dtype=np.int16), 64)


def test_import_needs_no_torch():
    script = (
        "import sys; import asr.audio.mel; print(sorted({'torch', 'whisper', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.strip() == "[]"
