"""log-Mel spectrograms → audio features (whisper/model.py, AudioEncoder)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from asr.engines.device import Placement
from asr.engines.weights import EncoderWeights


class Encoder:
    def __init__(self, weights: EncoderWeights, placement: Placement) -> None:
        self._weights = weights
        self._placement = placement

    def __call__(self, log_mel: Tensor) -> Tensor:
        """Audio features [batch, n_audio_ctx, state] of log_mel float32 [batch, n_mels, frames]."""
        weights, place = self._weights, self._placement
        x = log_mel.to(place.dtype)
        x = F.gelu(F.conv1d(x, *weights.conv1, padding=1))
        x = F.gelu(F.conv1d(x, *weights.conv2, stride=2, padding=1))
        x = x.transpose(1, 2) + weights.positions  # [batch, positions, state] in the residual format
        for attention, mlp in weights.layers:
            x = x + attention.out(self._attend(attention.qkv(attention.norm(x))))
            x = x + mlp.down(F.gelu(mlp.up(mlp.norm(x))))
        return weights.norm(x).to(place.dtype)

    def _attend(self, qkv: Tensor) -> Tensor:
        """[batch, positions, 3 * state] → [batch, positions, state], every position to every other."""
        batch, positions, _ = qkv.shape
        split = qkv.view(batch, positions, 3, self._weights.num_heads, -1)
        q, k, v = split.permute(2, 0, 3, 1, 4).unbind(0)  # each [batch, heads, positions, head_size]
        attended = F.scaled_dot_product_attention(q, k, v, scale=1.0)
        return attended.transpose(1, 2).flatten(2)
