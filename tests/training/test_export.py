"""Deflated archives, and the shared row that stands for all unused tokens."""

from __future__ import annotations

import io
import math

import torch

from training.export import EMBEDDING, deflated, full_state
from training.network import Network
from training.vocabulary_rows import NUM_TOKENS, used_tokens


def test_deflating_changes_the_bytes_but_not_the_tensors() -> None:
    tensors = {"a": torch.arange(10_000.0), "b": torch.zeros(1000, 64)}
    plain = io.BytesIO()
    torch.save(tensors, plain)
    packed = deflated(plain.getvalue())
    assert len(packed) < len(plain.getvalue()) / 2
    loaded = torch.load(io.BytesIO(packed), weights_only=True)
    assert all(torch.equal(loaded[name], tensor) for name, tensor in tensors.items())


@torch.no_grad()
def test_the_full_softmax_equals_the_compact_one(tmp_path) -> None:
    torch.manual_seed(0)
    network = Network()
    path = tmp_path / "checkpoint.pt"
    torch.save({"network": network.state_dict()}, path)
    rows = full_state(path)[EMBEDDING].float()
    assert rows.shape[0] == NUM_TOKENS
    state = torch.randn(3, rows.shape[1])
    used = torch.tensor(used_tokens())
    full = (state @ rows.T).log_softmax(-1)
    compact = state @ network.whisper.decoder.token_embedding.weight.T + network.shared_bias
    assert torch.allclose(full[:, used], compact.log_softmax(-1)[:, :-1], atol=2e-2)
    unused = sorted(set(range(NUM_TOKENS)) - set(used_tokens()))
    assert math.isclose(full[:, unused].exp().sum(), compact.softmax(-1)[:, -1].sum(), rel_tol=2e-2)
