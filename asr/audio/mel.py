"""The loudest log-Mel value of a whole utterance, without torch.

openai-whisper clamps every window 8 below the maximum of its utterance; a stateless window must therefore
carry that maximum.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from asr.constants import HOP_LENGTH, N_FFT, STFT_CONTEXT
from asr.schema import Samples

CHUNK_FRAMES = 2_000  # 20 s at a time: 3 MB of frames, whatever the length of the utterance
FLOOR = 1e-10  # openai-whisper takes the logarithm of no smaller mel power


def log_mel_max(samples: Samples, n_mels: int) -> float:
    """log10 of the largest mel power over all STFT frames of an utterance, at least -10.

    samples: int16 [n], the whole utterance; silence follows it and its start is reflected, as in
    whisper/audio.py, log_mel_spectrogram(padding=480000).
    """
    if len(samples) == 0:
        return float(np.log10(FLOOR))
    filters = mel_filters(n_mels)
    hann = hann_window()
    padded = _padded(samples)
    num_frames = 1 + (len(padded) - N_FFT) // HOP_LENGTH
    frames = np.lib.stride_tricks.sliding_window_view(padded, N_FFT)[::HOP_LENGTH]
    peak = FLOOR
    for first in range(0, num_frames, CHUNK_FRAMES):
        chunk = frames[first : first + CHUNK_FRAMES].astype(np.float32)
        chunk *= hann
        spectrum = np.fft.rfft(chunk)  # complex64 [frames, 201]
        power = spectrum.real**2 + spectrum.imag**2
        peak = max(peak, float((filters @ power.T).max()))
    return float(np.log10(np.float32(peak)))


def _padded(samples: Samples) -> Samples:
    """int16: 200 reflected samples, the utterance, zeros up to the last frame that reads any of it."""
    num_frames = -(-(len(samples) + STFT_CONTEXT) // HOP_LENGTH)
    padded = np.zeros((num_frames - 1) * HOP_LENGTH + N_FFT, dtype=np.int16)
    used = min(len(samples), len(padded) - STFT_CONTEXT)
    padded[STFT_CONTEXT : STFT_CONTEXT + used] = samples[:used]
    padded[:STFT_CONTEXT] = padded[STFT_CONTEXT + 1 : 2 * STFT_CONTEXT + 1][::-1]
    return padded


@lru_cache(maxsize=2)
def mel_filters(n_mels: int) -> NDArray[np.float32]:
    """float32 [n_mels, 201]; openai-whisper's own file."""
    with np.load(Path(__file__).parents[1] / "assets" / "mel_filters.npz", allow_pickle=False) as file:
        if f"mel_{n_mels}" not in file:
            raise ValueError(f"n_mels is {n_mels}, must be 80 or 128")
        filters: NDArray[np.float32] = file[f"mel_{n_mels}"]
    return filters


@lru_cache(maxsize=1)
def hann_window() -> NDArray[np.float32]:
    """Periodic Hann window [400], scaled so that int16 samples count as samples / 32768."""
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(N_FFT) / N_FFT)
    return (window / 32_768).astype(np.float32)
