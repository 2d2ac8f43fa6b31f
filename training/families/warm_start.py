"""A transducer that begins as a CTC: what the CTC knows holds from the first step."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from training.families import fbank
from training.families.clips import Clips
from training.families.transducer import MEAN, SCALE, TransducerNetwork
from training.speech import SAMPLE_RATE

LINEAR = 0.3  # the joiner's tanh is nearly linear below this
STATISTICS_WINDOWS = 100


def warmed(network: TransducerNetwork, checkpoint: Path, clips: Clips) -> None:
    """Takes a CTC's weights, turned so that they read Kaldi's features and put the blank first."""
    state = torch.load(checkpoint, weights_only=True)["network"]
    for name in [name for name in state if name.startswith(("head.", "frames."))]:
        state[name] = state[name].roll(1, 0)
    first = "encoder.subsampling.first."
    state[first + "weight"], state[first + "bias"] = on_kaldi(
        state[first + "weight"], state[first + "bias"], *statistics(clips)
    )
    size = len(state["head.weight"][0])
    state |= {
        "project.weight": LINEAR * torch.eye(size), "project.bias": torch.zeros(size),
        "predictor.out.weight": torch.zeros(size, size), "predictor.out.bias": torch.zeros(size),
        "joiner.weight": state["head.weight"] / LINEAR, "joiner.bias": state["head.bias"].clone(),
    }  # fmt: skip
    network.load_state_dict(state, strict=False)


def on_kaldi(weight: Tensor, bias: Tensor, mean: Tensor, deviation: Tensor) -> tuple[Tensor, Tensor]:
    """The first convolution, weight [dim, 80, 3], made one of Kaldi's log energies.

    Each of NeMo's bins is read off between Kaldi's bins at its frequency; `mean` and `deviation` [80] are of
    Kaldi's bins within an utterance, where the CTC has 0 and 1.
    """
    mixed = torch.einsum("dnt,nk->dkt", weight, between(centres(fbank.NEMO), centres(fbank.KALDI)))
    shifted = bias + torch.einsum("dkt,k->d", mixed, (MEAN - mean) / deviation)
    return mixed * (SCALE / deviation)[:, None], shifted


def centres(kind: fbank.Kind) -> Tensor:
    """Centre of gravity of each bin in hertz, float32 [80]."""
    weights = fbank.bank(kind)
    return weights @ torch.linspace(0, SAMPLE_RATE / 2, weights.shape[1]) / weights.sum(dim=1)


def between(wanted: Tensor, given: Tensor) -> Tensor:
    """Matrix [wanted, given]: linear interpolation of values at `given`, which rises, at `wanted`."""
    right = torch.searchsorted(given, wanted).clamp(1, len(given) - 1)
    share = ((wanted - given[right - 1]) / (given[right] - given[right - 1])).clamp(0, 1)
    matrix, rows = torch.zeros(len(wanted), len(given)), torch.arange(len(wanted))
    matrix[rows, right], matrix[rows, right - 1] = share, 1 - share
    return matrix


def statistics(clips: Clips) -> tuple[Tensor, Tensor]:
    """Mean and deviation within an utterance of Kaldi's bins, float32 [80] each, over training windows."""
    means, variances = [], []
    while len(means) < STATISTICS_WINDOWS:
        for window in clips.windows(1.0):
            content = torch.from_numpy(window.samples[: round(window.content_s * SAMPLE_RATE)])
            features = fbank.log_mel(content, fbank.KALDI)
            means.append(features.mean(dim=0))
            variances.append(features.var(dim=0))
    return torch.stack(means).mean(dim=0), torch.stack(variances).mean(dim=0).sqrt()
