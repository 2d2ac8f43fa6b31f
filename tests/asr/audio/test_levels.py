"""Levels: the detector hears quiet speech, and what does not change stays what it is."""

from __future__ import annotations

import numpy as np
import pytest

from asr.audio.levels import FRAME_SAMPLES, frame_levels, is_steady, local_gains

SECOND = 16_000


def tone(level_db: float, seconds: float = 5.0) -> np.ndarray:
    amplitude = 32_768 * 10 ** (level_db / 20) * np.sqrt(2)
    wave = amplitude * np.sin(2 * np.pi * 440 * np.arange(round(seconds * SECOND)) / SECOND)
    return np.clip(wave.round(), -32_768, 32_767).astype(np.int16)


@pytest.mark.parametrize("level", [-10, -20, -40])
def test_levels_are_dbfs(level: float) -> None:
    assert frame_levels(tone(level))[:-1] == pytest.approx(level, abs=0.3)


@pytest.mark.parametrize(("level", "gain_db"), [(-10, 0), (-26, 0), (-46, 20), (-66, 40)])
def test_quiet_sound_is_raised_to_one_level_and_loud_sound_is_left(level: float, gain_db: float) -> None:
    gains = 20 * np.log10(local_gains(tone(level)))
    assert gains == pytest.approx(gain_db, abs=0.5)


def test_the_gain_follows_a_change_of_speakers() -> None:
    gains = 20 * np.log10(local_gains(np.concatenate([tone(-15, 4), tone(-50, 4), tone(-15, 4)])))
    frame = SECOND // FRAME_SAMPLES
    assert gains[2 * frame] == pytest.approx(0, abs=0.1)
    assert gains[6 * frame] == pytest.approx(24, abs=0.5)
    assert gains[10 * frame] == pytest.approx(0, abs=0.1)


def test_silence_has_the_largest_gain_and_no_audio_has_none() -> None:
    assert local_gains(np.zeros(2 * SECOND, np.int16)) == pytest.approx(1000)
    assert len(local_gains(np.zeros(0, np.int16))) == 0


def test_the_blocks_of_a_long_file_join() -> None:
    samples = np.random.default_rng(0).integers(-300, 300, 300 * SECOND).astype(np.int16)
    levels = frame_levels(samples)
    piece = slice(4_090, 4_100)
    alone = samples[piece.start * FRAME_SAMPLES : piece.stop * FRAME_SAMPLES]
    assert levels[piece] == pytest.approx(frame_levels(alone))


def test_hiss_hum_and_silence_are_steady_and_speech_is_not() -> None:
    rng = np.random.default_rng(1)
    assert is_steady(np.zeros(SECOND, np.int16))
    assert is_steady(np.zeros(0, np.int16))
    assert is_steady(tone(-30))
    assert is_steady((rng.standard_normal(5 * SECOND) * 300).astype(np.int16))
    assert not is_steady(np.concatenate([tone(-20, 1), tone(-40, 1), tone(-25, 1)]))
