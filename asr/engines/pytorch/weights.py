"""A checkpoint's weights laid out for inference: projections fused, scales folded in, one number format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from asr.engines.checkpoints.checkpoint import Checkpoint
from asr.engines.device import Placement, cpu_multiplies_bfloat16

EOT = 50_257  # first token behind the text of a multilingual vocabulary; one less in an English-only one
STEP_ROWS = 16  # rows of a decode step that the decoder's blocked layout is chosen for; others work too


class Linear:
    """y = x Wᵀ + b in the weights' format."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self.weight = weight  # [out, in]; PackedLinear keeps its format here only
        self.bias = bias  # [out]

    def __call__(self, x: Tensor) -> Tensor:
        """x: [..., in], any float format; returns [..., out] in the weights' format."""
        return F.linear(x.to(self.weight.dtype), self.weight, self.bias)


class PackedLinear(Linear):
    """The same on a CPU, the weight kept in oneDNN's blocked layout for products of about `rows` rows.

    F.linear calls MKL in float32, which leaves out AVX-512 on processors that are not Intel's. One thread of
    a busy Zen 5, tiny's 1,536 x 384 MLP with a window's 1,500 rows: 17.8 → 7.7 ms in float32, 4.5 → 3.7 in
    bfloat16; its 51,865 x 384 logits, 16 rows: 13.8 → 5.3 and 4.7 → 2.5. torch.compile uses the same.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, rows: int) -> None:
        super().__init__(weight.new_empty(0), bias)
        self._packed = torch.ops.mkldnn._reorder_linear_weight(weight, rows)

    def __call__(self, x: Tensor) -> Tensor:
        x = x.to(self.weight.dtype)
        result: Tensor = torch.ops.mkldnn._linear_pointwise(x, self._packed, self.bias, "none", [], "")
        return result

    @staticmethod
    def is_possible(placement: Placement) -> bool:
        if placement.is_cuda or not torch.backends.mkldnn.is_available():
            return False
        return placement.dtype == torch.float32 or cpu_multiplies_bfloat16()


class LayerNorm:
    """Layer normalisation over the last dimension, in the input's format; float32 inside."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        self.weight = weight
        self.bias = bias

    def __call__(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, 1e-5)


@dataclass(frozen=True, slots=True)
class Attention:
    """Self-attention; the query part is scaled by head_size ** -0.5, so scores need no scale."""

    norm: LayerNorm
    qkv: Linear  # [3 * state, state]: query, key, value
    out: Linear


@dataclass(frozen=True, slots=True)
class CrossAttention:
    """Attention to the audio features; keys and values of all layers are one projection, see below."""

    norm: LayerNorm
    query: Linear  # scaled as above
    out: Linear


@dataclass(frozen=True, slots=True)
class Mlp:
    norm: LayerNorm
    up: Linear
    down: Linear


@dataclass(frozen=True, slots=True)
class EncoderWeights:
    num_heads: int
    conv1: tuple[Tensor, Tensor]  # weight, bias
    conv2: tuple[Tensor, Tensor]
    positions: Tensor  # [n_audio_ctx, state], residual format
    layers: tuple[tuple[Attention, Mlp], ...]
    norm: LayerNorm


@dataclass(frozen=True, slots=True)
class DecoderWeights:
    num_heads: int
    embedding: Tensor  # [n_vocab, state], residual format
    positions: Tensor  # [n_text_ctx, state], residual format
    layers: tuple[tuple[Attention, CrossAttention, Mlp], ...]
    cross_keys: tuple[Linear, ...]  # one per layer
    cross_values: tuple[Linear, ...]
    norm: LayerNorm
    head: Linear  # tied to the embedding
    # The same for special and timestamp tokens in float32, where `head` is bfloat16 and would give
    # neighbouring timestamps equal logits; None where `head` is precise enough for them.
    fine_head: Linear | None


class _Reader:
    """Tensors of a state dict by name, moved to their place."""

    def __init__(self, state: Mapping[str, Tensor], placement: Placement, *, rows: int) -> None:
        """rows: of the usual product with these weights."""
        self._state = state
        self._placement = placement
        self._packs = PackedLinear.is_possible(placement)
        self._rows = rows

    def matrix(self, name: str) -> Tensor:
        return self._state[name].to(self._placement.device, self._placement.dtype).contiguous()

    def residual(self, name: str) -> Tensor:
        return self._state[name].to(self._placement.device, self._placement.residual_dtype).contiguous()

    def norm(self, prefix: str) -> LayerNorm:
        return LayerNorm(self.residual(f"{prefix}.weight"), self.residual(f"{prefix}.bias"))

    def linear(self, prefixes: Sequence[str], scales: Sequence[float]) -> Linear:
        """One projection out of several, each times its scale; a part without bias has bias 0."""
        weights, biases = [], []
        for prefix, scale in zip(prefixes, scales, strict=True):
            weight = self._state[f"{prefix}.weight"].float()
            bias = self._state.get(f"{prefix}.bias")
            weights.append(weight * scale)
            biases.append(torch.zeros(weight.shape[0]) if bias is None else bias.float() * scale)
        to = (self._placement.device, self._placement.dtype)
        has_bias = any(f"{prefix}.bias" in self._state for prefix in prefixes)
        return self.packed(torch.cat(weights).to(*to), torch.cat(biases).to(*to) if has_bias else None)

    def packed(self, weight: Tensor, bias: Tensor | None) -> Linear:
        """The projection in the layout that is fastest where the model runs."""
        return PackedLinear(weight, bias, self._rows) if self._packs else Linear(weight, bias)

    def attention(self, prefix: str, head_size: int) -> Attention:
        qkv = [f"{prefix}.attn.{part}" for part in ("query", "key", "value")]
        return Attention(
            self.norm(f"{prefix}.attn_ln"),
            self.linear(qkv, (head_size**-0.5, 1.0, 1.0)),
            self.linear([f"{prefix}.attn.out"], (1.0,)),
        )

    def cross_attention(self, prefix: str, head_size: int) -> CrossAttention:
        return CrossAttention(
            self.norm(f"{prefix}.cross_attn_ln"),
            self.linear([f"{prefix}.cross_attn.query"], (head_size**-0.5,)),
            self.linear([f"{prefix}.cross_attn.out"], (1.0,)),
        )

    def mlp(self, prefix: str) -> Mlp:
        return Mlp(
            self.norm(f"{prefix}.mlp_ln"),
            self.linear([f"{prefix}.mlp.0"], (1.0,)),
            self.linear([f"{prefix}.mlp.2"], (1.0,)),
        )


def encoder_weights(checkpoint: Checkpoint, placement: Placement) -> EncoderWeights:
    dims = checkpoint.dims
    read = _Reader(checkpoint.state, placement, rows=dims.n_audio_ctx)
    head_size = dims.n_audio_state // dims.n_audio_head
    blocks = [f"encoder.blocks.{layer}" for layer in range(dims.n_audio_layer)]
    return EncoderWeights(
        num_heads=dims.n_audio_head,
        conv1=(read.matrix("encoder.conv1.weight"), read.matrix("encoder.conv1.bias")),
        conv2=(read.matrix("encoder.conv2.weight"), read.matrix("encoder.conv2.bias")),
        positions=read.residual("encoder.positional_embedding"),
        layers=tuple((read.attention(block, head_size), read.mlp(block)) for block in blocks),
        norm=read.norm("encoder.ln_post"),
    )


def decoder_weights(checkpoint: Checkpoint, placement: Placement) -> DecoderWeights:
    dims, read = checkpoint.dims, _Reader(checkpoint.state, placement, rows=STEP_ROWS)
    head_size = dims.n_text_state // dims.n_text_head
    blocks = [f"decoder.blocks.{layer}" for layer in range(dims.n_text_layer)]
    embedding = read.residual("decoder.token_embedding.weight")
    text_tokens = EOT if dims.multilingual else EOT - 1
    is_coarse = placement.dtype == torch.bfloat16
    return DecoderWeights(
        num_heads=dims.n_text_head,
        embedding=embedding,
        positions=read.residual("decoder.positional_embedding"),
        layers=tuple(
            (read.attention(block, head_size), read.cross_attention(block, head_size), read.mlp(block))
            for block in blocks
        ),
        cross_keys=tuple(read.linear([f"{block}.cross_attn.key"], (1.0,)) for block in blocks),
        cross_values=tuple(read.linear([f"{block}.cross_attn.value"], (1.0,)) for block in blocks),
        norm=read.norm("decoder.ln"),
        head=read.packed(embedding[: text_tokens if is_coarse else None].to(placement.dtype), None),
        fine_head=Linear(embedding[text_tokens:], None) if is_coarse else None,
    )
