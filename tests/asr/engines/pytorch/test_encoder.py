"""Attention by oneDNN products against torch's own, and the choice between them."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from asr.engines.checkpoints.checkpoint import load_checkpoint
from asr.engines.device import Placement
from asr.engines.pytorch import encoder
from asr.engines.pytorch.attention import AttentionLayout
from asr.engines.pytorch.encoder import Encoder, attend_by_products
from asr.engines.pytorch.weights import PackedLinear, encoder_weights
from tests.asr.engines.processor import needs_bfloat16

needs_onednn = pytest.mark.skipif(
    not PackedLinear.is_possible(Placement(torch.device("cpu"), torch.float32)), reason="needs oneDNN"
)


@needs_onednn
@pytest.mark.parametrize("positions", [1, 499, 500, 1_103])
@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [(torch.float32, 1e-5), pytest.param(torch.bfloat16, 3e-2, marks=needs_bfloat16)],
)
def test_products_are_attention(positions, dtype, tolerance):
    generator = torch.Generator().manual_seed(positions)
    qkv = torch.randn(2, positions, 3, 3, 16, generator=generator)
    q, k, v = qkv.to(dtype).permute(2, 0, 3, 1, 4).unbind(0)  # views, as the encoder's
    q = q * 0.25
    exact = F.scaled_dot_product_attention(q.float(), k.float(), v.float(), scale=1.0)
    expected = exact.transpose(1, 2).flatten(2)
    found = attend_by_products(q, k, v)
    assert found.dtype == dtype
    torch.testing.assert_close(found.float(), expected, atol=tolerance, rtol=tolerance)


@needs_onednn
@pytest.mark.parametrize("is_fused", [True, False])
def test_the_layout_chooses(multilingual, monkeypatch, is_fused):
    monkeypatch.setattr(encoder, "attention_layout", lambda _: AttentionLayout(fused_encoder=is_fused))
    calls = []
    monkeypatch.setattr(
        encoder, "attend_by_products", lambda *qkv: calls.append(1) or attend_by_products(*qkv)
    )
    place = Placement(torch.device("cpu"), torch.float32)
    checkpoint = load_checkpoint(str(multilingual.path))
    Encoder(encoder_weights(checkpoint, place), place)(torch.zeros(1, 80, 3_000))
    assert bool(calls) != is_fused
