"""A transducer that takes a CTC's weights hears what the CTC heard."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from training.families import fbank, warm_start
from training.families.ctc import CtcNetwork
from training.families.transducer import MEAN, SCALE, TransducerNetwork


def test_the_first_layer_reads_the_same_of_either_kind_of_features() -> None:
    torch.manual_seed(0)
    weight, bias = torch.randn(5, 80, 3), torch.randn(5)
    mean, deviation = torch.randn(80) - 7, torch.rand(80) + 1
    features = torch.randn(2, 80, 9) * 3 - 7
    mixed, shifted = warm_start.on_kaldi(weight, bias, mean, deviation)
    matrix = warm_start.between(warm_start.centres(fbank.NEMO), warm_start.centres(fbank.KALDI))
    nemo = matrix @ ((features - mean[:, None]) / deviation[:, None])
    ours = F.conv1d((features - MEAN) / SCALE, mixed, shifted)
    torch.testing.assert_close(ours, F.conv1d(nemo, weight, bias), rtol=1e-4, atol=1e-3)


def test_values_between_bins_are_interpolated_and_kept_beyond_the_ends() -> None:
    matrix = warm_start.between(torch.tensor([0.0, 1.0, 2.5, 9.0]), torch.tensor([1.0, 2.0, 3.0]))
    assert (matrix @ torch.tensor([10.0, 20.0, 30.0])).tolist() == [10.0, 10.0, 25.0, 30.0]


def test_before_its_first_step_the_joiner_says_what_the_ctc_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    source, taker = CtcNetwork(), TransducerNetwork()
    monkeypatch.setattr(warm_start, "statistics", lambda _: (torch.full((80,), MEAN), torch.ones(80)))
    torch.save({"network": source.state_dict()}, tmp_path / "checkpoint.pt")
    warm_start.warmed(taker, tmp_path / "checkpoint.pt", None)  # type: ignore[arg-type]
    encoded, context = 0.1 * torch.randn(3, 192), torch.tensor([[4, 9]] * 3)
    with torch.no_grad():
        joined = taker.join(taker.project(encoded), taker.predictor(context)[:, 0])
        wanted = source.head(encoded).roll(1, dims=-1)
    torch.testing.assert_close(joined, wanted, rtol=1e-2, atol=1e-2)
