"""log-Mel spectrograms → audio features (whisper/model.py, AudioEncoder)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from asr.engines.device import Placement
from asr.engines.pytorch.attention import attention_layout
from asr.engines.pytorch.weights import EncoderWeights, PackedLinear

QUERIES_AT_ONCE = 500  # a third of a window: 3 MB of float32 scores per head


class Encoder:
    def __init__(self, weights: EncoderWeights, placement: Placement) -> None:
        self._weights = weights
        self._placement = placement
        # torch's fused attention calls MKL in float32, and uses AMX's tiles where there are some
        is_fused = attention_layout(placement).fused_encoder
        self._by_products = PackedLinear.is_possible(placement) and not is_fused

    def __call__(self, log_mel: Tensor) -> Tensor:
        """Audio features [batch, frames / 2, state] of log_mel float32 [batch, n_mels, frames]."""
        weights, place = self._weights, self._placement
        x = log_mel.to(place.dtype)
        x = F.gelu(F.conv1d(x, *weights.conv1, padding=1))
        x = F.gelu(F.conv1d(x, *weights.conv2, stride=2, padding=1))
        x = (
            x.transpose(1, 2) + weights.positions[: x.shape[2]]
        )  # [batch, positions, state] in the residual format
        for attention, mlp in weights.layers:
            x = x + attention.out(self._attend(attention.qkv(attention.norm(x))))
            x = x + mlp.down(F.gelu(mlp.up(mlp.norm(x))))
        return weights.norm(x).to(place.dtype)

    def _attend(self, qkv: Tensor) -> Tensor:
        """[batch, positions, 3 * state] → [batch, positions, state], every position to every other."""
        batch, positions, _ = qkv.shape
        split = qkv.view(batch, positions, 3, self._weights.num_heads, -1)
        q, k, v = split.permute(2, 0, 3, 1, 4).unbind(0)  # each [batch, heads, positions, head_size]
        if self._by_products:
            return attend_by_products(q, k, v)
        attended = F.scaled_dot_product_attention(q, k, v, scale=1.0)
        return attended.transpose(1, 2).flatten(2)


def attend_by_products(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """softmax(q kᵀ) v on a CPU, [batch, heads, positions, head_size] → [batch, positions, heads * head_size].

    Head by head through oneDNN. torch's fused attention calls MKL, which leaves out AVX-512 on processors
    that are not Intel's: one thread of a busy Zen 5, a layer of tiny, 46 → 24 ms in float32, 45 → 18 in
    bfloat16.
    """
    batch, heads, positions, size = q.shape
    linear = torch.ops.mkldnn._linear_pointwise
    attended = q.new_empty(batch, positions, heads, size)
    for window in range(batch):
        for head in range(heads):
            # contiguous: for any other layout oneDNN falls back to a reordering a thousand times slower
            keys = k[window, head].contiguous()
            values = v[window, head].t().contiguous()
            for first in range(0, positions, QUERIES_AT_ONCE):
                part = slice(first, first + QUERIES_AT_ONCE)
                weights = linear(q[window, head, part], keys, None, "none", [], "").softmax(-1)
                attended[window, part, head] = linear(weights, values, None, "none", [], "")
    return attended.flatten(2)
