"""The log-Mel spectrogram of a recording, at the resolution of a picture."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from asr.audio.mel import FLOOR, hann_window, mel_filters
from asr.constants import HOP_LENGTH, N_FFT
from asr.schema import Samples

FRAMES_PER_COLUMN = 4  # at most, so that an hour costs no more than a minute
CHUNK_FRAMES = 2_000  # 3 MB of frames at a time
DYNAMIC_RANGE = 8.0  # in log10, below the loudest, as openai-whisper clamps it


def log_mel_image(samples: Samples, n_mels: int, max_columns: int) -> NDArray[np.float32]:
    """float32 [n_mels, columns] in 0..1, low frequencies first; 1 is the loudest of the recording.

    A column stands for an equal share of the recording and shows the mean power of a few of its frames.
    """
    padded = np.zeros(max(len(samples), N_FFT), np.int16)
    padded[: len(samples)] = samples
    frames = np.lib.stride_tricks.sliding_window_view(padded, N_FFT)[::HOP_LENGTH]
    columns = min(max_columns, len(frames))
    per_column = min(FRAMES_PER_COLUMN, len(frames) // columns)
    picked = np.linspace(0, len(frames) - 1, columns * per_column).round().astype(np.int64)
    power = np.concatenate(
        [
            _mel_power(frames[picked[i : i + CHUNK_FRAMES]], n_mels)
            for i in range(0, len(picked), CHUNK_FRAMES)
        ]
    )
    mean = power.reshape(columns, per_column, n_mels).mean(axis=1).T
    log_mel = np.log10(np.maximum(mean, FLOOR))
    scaled: NDArray[np.float32] = ((log_mel - log_mel.max()) / DYNAMIC_RANGE + 1).astype(np.float32)
    return scaled.clip(0, 1)


def _mel_power(frames: Samples, n_mels: int) -> NDArray[np.float32]:
    """float32 [frames, n_mels]."""
    spectrum = np.fft.rfft(frames.astype(np.float32) * hann_window())
    power = spectrum.real**2 + spectrum.imag**2
    return np.asarray(power @ mel_filters(n_mels).T, np.float32)
