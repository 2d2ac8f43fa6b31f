"""Filterbank features as sherpa-onnx computes them (kaldi-native-fbank), for NeMo's and icefall's models."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from training.speech import SAMPLE_RATE

NUM_BINS = 80
FRAME = 400  # samples, 25 ms
SHIFT = 160  # samples, 10 ms
FFT = 512
PREEMPHASIS = 0.97
FLOOR = torch.finfo(torch.float32).eps  # under each of Kaldi's mel energies
GUARD = 2.0**-24  # added to each of NeMo's: sherpa-onnx 2.0.1 does so where the model names a normalisation


@dataclass(frozen=True, slots=True)
class Kind:
    """What differs between the families: NeMo's bank is librosa's, icefall's is Kaldi's."""

    is_nemo: bool


NEMO, KALDI = Kind(True), Kind(False)


def kaldi_mel(hertz: Tensor) -> Tensor:
    return 1127.0 * (1.0 + hertz / 700.0).log()


def slaney_hertz(mel: Tensor) -> Tensor:
    step = math.log(6.4) / 27
    return torch.where(mel <= 15, mel * 200 / 3, 1000 * ((mel - 15) * step).exp())


@cache
def bank(kind: Kind) -> Tensor:
    """Mel weights [80, 257]: Kaldi's triangles in mel, 20 to 7600 Hz; Slaney's in hertz, 0 to 8000."""
    hertz = torch.arange(FFT // 2 + 1, dtype=torch.float64) * SAMPLE_RATE / FFT
    if kind.is_nemo:
        top = 15 + 27 * math.log(SAMPLE_RATE / 2 / 1000) / math.log(6.4)
        edges, axis = slaney_hertz(torch.linspace(0, top, NUM_BINS + 2, dtype=torch.float64)), hertz
    else:
        low, high = kaldi_mel(torch.tensor([20.0, SAMPLE_RATE / 2 - 400], dtype=torch.float64)).tolist()
        edges, axis = torch.linspace(low, high, NUM_BINS + 2, dtype=torch.float64), kaldi_mel(hertz)
    left, centre, right = (edges[at : NUM_BINS + at, None] for at in range(3))
    weights = torch.minimum((axis - left) / (centre - left), (right - axis) / (right - centre)).clamp(min=0)
    if kind.is_nemo:
        weights *= 2 / (right - left)  # each triangle has area 1
    return weights.float()


@cache
def window(kind: Kind) -> Tensor:
    """Hann (periodic) for NeMo, Povey for Kaldi; float32 [400]."""
    if kind.is_nemo:
        return torch.hann_window(FRAME)
    return torch.hann_window(FRAME, periodic=False, dtype=torch.float64).pow(0.85).float()


def frames(samples: Tensor) -> Tensor:
    """Frames [n, 400] centred 10 ms apart, the first at 5 ms; beyond the edges the samples are mirrored."""
    count = (len(samples) + SHIFT // 2) // SHIFT
    left = FRAME // 2 - SHIFT // 2
    right = (count - 1) * SHIFT + FRAME - left - len(samples)
    edge = torch.cat([samples[:left].flip(0), samples, samples[len(samples) - max(right, 0) :].flip(0)])
    return edge[: (count - 1) * SHIFT + FRAME].unfold(0, FRAME, SHIFT)


def log_mel(samples: Tensor, kind: Kind) -> Tensor:
    """Log mel energies [frames, 80] of float32 samples [n] in [-1, 1], n ≥ 320."""
    framed = frames(samples)
    if not kind.is_nemo:
        framed = framed - framed.mean(dim=1, keepdim=True)
    before = torch.cat([framed[:, :1], framed[:, :-1]], dim=1)
    windowed = (framed - PREEMPHASIS * before) * window(kind)
    power = torch.fft.rfft(F.pad(windowed, (0, FFT - FRAME))).abs().square()
    energies = power @ bank(kind).T
    return ((energies + GUARD) if kind.is_nemo else energies.clamp(min=FLOOR)).log()


def per_feature(features: Tensor) -> Tensor:
    """NeMo's normalisation: each bin to mean 0 and deviation 1 over the utterance [frames, 80]."""
    mean = features.mean(dim=0)
    variance = (features.square().mean(dim=0) - mean.square()).clamp(min=0)
    return (features - mean) / (variance.sqrt() + 1e-5)
