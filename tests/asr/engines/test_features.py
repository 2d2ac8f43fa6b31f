"""Windows give the same log-Mel frames as upstream's spectrogram of the whole utterance."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import whisper

from asr.audio.mel import log_mel_max
from asr.engines.features import LogMel
from asr.schema import DecodingOptions, Window
from tests.asr.checkpoints import random_audio


def utterance_mel(samples, n_mels):
    return whisper.log_mel_spectrogram(samples.astype(np.float32) / 32_768, n_mels, padding=480_000)


def window_at(samples, frame, num_frames, peak):
    """The window that a sequential session cuts at a mel frame."""
    start = frame * 160
    left = 200 if start else 0
    cut = samples[start - left : start + num_frames * 160 + 200]
    return Window(cut, num_frames, DecodingOptions(), left_context=left, log_mel_max=peak)


@pytest.mark.parametrize("n_mels", [80, 128])
def test_windows_of_an_utterance(n_mels):
    samples = random_audio(67.3, seed=3)
    content = len(samples) // 160
    mel = utterance_mel(samples, n_mels)
    peak = log_mel_max(samples, n_mels)
    seeks = [0, 2, 1234, 3000, content - 3000, content - 700, content - 1]
    windows = [window_at(samples, seek, min(3000, content - seek), peak) for seek in seeks]
    ours = LogMel(n_mels, torch.device("cpu"))(windows)
    assert ours.shape == (len(seeks), n_mels, 3000)
    for row, seek, window in zip(ours, seeks, windows, strict=True):
        theirs = mel[:, seek : seek + window.num_frames]
        expected = whisper.pad_or_trim(theirs, 3000)
        torch.testing.assert_close(row, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("length", [160, 199, 200, 201, 320, 401, 16_000])
def test_short_utterances(length):
    samples = random_audio(2, seed=1)[:length]
    frames = length // 160
    window = window_at(samples, 0, frames, log_mel_max(samples, 80))
    [ours] = LogMel(80, torch.device("cpu"))([window])
    torch.testing.assert_close(ours[:, :frames], utterance_mel(samples, 80)[:, :frames], atol=1e-5, rtol=0)
    assert not ours[:, frames:].any()


def test_own_maximum_counts_computed_frames_only():
    """Without the utterance's maximum a window is clamped below its own, whatever its batch neighbours."""
    quiet, loud = random_audio(5, seed=1, level=0.01), random_audio(9, seed=2)
    log_mel = LogMel(80, torch.device("cpu"))
    windows = [Window(samples, len(samples) // 160, DecodingOptions()) for samples in (quiet, loud)]
    together = log_mel(windows)
    for window, row in zip(windows, together, strict=True):
        torch.testing.assert_close(log_mel([window])[0], row)
        computed = row[:, : window.num_frames]
        assert (computed.max() - computed.min()).item() == pytest.approx(2.0, abs=1e-6)
        given = Window(window.samples, window.num_frames, window.options, log_mel_max=1.0)
        assert log_mel([given])[0].min().item() == pytest.approx((1.0 - 8 + 4) / 4)


def test_silence():
    silence = np.zeros(16_000, dtype=np.int16)
    [ours] = LogMel(80, torch.device("cpu"))([Window(silence, 100, DecodingOptions())])
    torch.testing.assert_close(ours[:, :100], utterance_mel(silence, 80)[:, :100])
