"""A conformer whose convolutions look back only: whole utterances, or chunks with a limited left context."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SUBSAMPLING = 4  # features per encoder frame: 40 ms


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of the encoder; `chunk` and `left` are encoder frames, 0 for whole utterances."""

    dim: int = 192
    heads: int = 4
    layers: int = 6
    hidden: int = 384
    kernel: int = 9
    chunk: int = 0
    left: int = 0


def rotated(x: Tensor, positions: Tensor) -> Tensor:
    """Rotary positions on [batch, heads, frames, head_dim]: scores depend on distances only."""
    half = x.shape[-1] // 2
    rates = 1000.0 ** (-torch.arange(half, dtype=torch.float32) / half)
    angles = positions[:, None].float() * rates
    cos, sin = angles.cos(), angles.sin()
    first, second = x[..., :half].float(), x[..., half:].float()
    return torch.cat([first * cos - second * sin, first * sin + second * cos], dim=-1).to(x.dtype)


class Attention(nn.Module):
    """Queries of the last frames over all frames given."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.heads = shape.heads
        self.norm = nn.LayerNorm(shape.dim)
        self.query = nn.Linear(shape.dim, shape.dim)
        self.key_value = nn.Linear(shape.dim, 2 * shape.dim)
        self.out = nn.Linear(shape.dim, shape.dim)

    def forward(self, x: Tensor, source: Tensor, mask: Tensor | None) -> Tensor:
        """x [batch, queries, dim] are the last of `source` [batch, keys, dim]; both normed; mask is added."""
        dim = x.shape[-1]
        split = (x.shape[0], -1, self.heads, dim // self.heads)
        q = self.query(x).view(split).transpose(1, 2)
        both = self.key_value(source)
        k = both[..., :dim].reshape(split).transpose(1, 2)
        v = both[..., dim:].reshape(split).transpose(1, 2)
        positions = torch.arange(source.shape[1])
        q = rotated(q, positions[source.shape[1] - x.shape[1] :])
        k = rotated(k, positions)
        # written out: on these short sequences flash attention's backward pass took a quarter of a step
        scores = q @ k.transpose(-1, -2) * (dim // self.heads) ** -0.5
        weights = (scores if mask is None else scores + mask).float().softmax(dim=-1)
        return self.out((weights.to(v.dtype) @ v).transpose(1, 2).reshape(x.shape[0], -1, dim))


class Convolution(nn.Module):
    """Gated depthwise convolution over this frame and the `kernel` − 1 before it."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(shape.dim)
        self.gate = nn.Linear(shape.dim, 2 * shape.dim)
        self.depthwise = nn.Conv1d(shape.dim, shape.dim, shape.kernel, groups=shape.dim)
        self.middle = nn.LayerNorm(shape.dim)
        self.out = nn.Linear(shape.dim, shape.dim)

    def forward(self, x: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
        """Output [batch, frames, dim] and the gated input with `before` [batch, kernel − 1, dim] in front."""
        gated = torch.cat([before, F.glu(self.gate(self.norm(x)), dim=-1).float()], dim=1)
        mixed = self.depthwise(gated.transpose(1, 2)).transpose(1, 2)
        return self.out(F.silu(self.middle(mixed.float()))), gated


def feed_forward(shape: Shape) -> nn.Sequential:
    """A half step of the macaron."""
    wide = nn.Linear(shape.dim, shape.hidden)
    return nn.Sequential(nn.LayerNorm(shape.dim), wide, nn.SiLU(), nn.Linear(shape.hidden, shape.dim))


class Block(nn.Module):
    """Half a feed-forward step, attention, convolution, the other half, norm."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.first, self.second = feed_forward(shape), feed_forward(shape)
        self.attention, self.convolution = Attention(shape), Convolution(shape)
        self.norm = nn.LayerNorm(shape.dim)

    def forward(
        self, x: Tensor, attended: Tensor, convolved: Tensor, mask: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Output, and both states with this block's frames appended.

        attended [batch, left, dim] was attended to before x, convolved [batch, kernel − 1, dim] convolved.
        """
        x = x + 0.5 * self.first(x)
        normed = self.attention.norm(x)
        source = torch.cat([attended, normed], dim=1)
        x = x + self.attention(normed, source, mask)
        mixed, gated = self.convolution(x, convolved)
        x = x + mixed
        x = x + 0.5 * self.second(x)
        return self.norm(x), source, gated


class Subsampling(nn.Module):
    """Two convolutions of stride 2: features [batch, frames, 80] to [batch, frames / 4, dim]."""

    def __init__(self, num_bins: int, dim: int) -> None:
        super().__init__()
        self.first = nn.Conv1d(num_bins, dim, 3, stride=2)
        self.second = nn.Conv1d(dim, dim, 3, stride=2)

    def forward(self, features: Tensor, lengths: Tensor | None) -> Tensor:
        """With `lengths` [batch] encoder frame i is centred on feature 4i, and beyond a length is zero;
        without, it sees features 4i to 4i + 6 and nothing is padded."""
        x = features.transpose(1, 2)
        if lengths is None:
            return F.silu(self.second(F.silu(self.first(x)))).transpose(1, 2).float()
        x = F.pad(x * inside(lengths, x.shape[2])[:, None], (1, 1))
        x = F.silu(self.first(x))
        x = F.pad(x * inside((lengths + 1) // 2, x.shape[2])[:, None], (1, 1))
        return F.silu(self.second(x)).transpose(1, 2).float()


def inside(lengths: Tensor, size: int) -> Tensor:
    """1.0 where a frame is within its row's length, else 0.0: [batch, size]."""
    return (torch.arange(size) < lengths[:, None]).float()


class Conformer(nn.Module):
    """Features to encoder frames [batch, frames, dim]."""

    def __init__(self, shape: Shape, num_bins: int) -> None:
        super().__init__()
        self.shape = shape
        self.subsampling = Subsampling(num_bins, shape.dim)
        self.norm = nn.LayerNorm(shape.dim)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))

    def forward(self, features: Tensor, lengths: Tensor | None) -> Tensor:
        """Whole utterances; `lengths` [batch] in features masks the attention, else chunks do."""
        x = self.norm(self.subsampling(features, lengths))
        if lengths is not None:
            mask = (1 - inside((lengths + 3) // 4, x.shape[1]))[:, None, None] * -1e4
        else:
            mask = self.chunk_mask(x.shape[1])
        nothing = x[:, :0]
        before = torch.zeros(x.shape[0], self.shape.kernel - 1, x.shape[2])
        for block in self.blocks:
            x, _, _ = block(x, nothing, before, mask)
        return x

    def chunk_mask(self, size: int) -> Tensor:
        """0 where frame i may see frame j, else −10000: its own chunk and `left` frames before it."""
        frame = torch.arange(size)
        start = frame // self.shape.chunk * self.shape.chunk
        seen = (frame >= start[:, None] - self.shape.left) & (frame < start[:, None] + self.shape.chunk)
        return (~seen).float() * -1e4

    def step(
        self, features: Tensor, attended: Tensor, convolved: Tensor, processed: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """One chunk: features [batch, 4 · chunk + 3, 80] and states as sherpa-onnx keeps them.

        attended [layers, left, batch, dim], convolved [layers, kernel − 1, batch, dim],
        processed [batch]: features before this chunk, which say how much of `attended` is real.
        """
        shape = self.shape
        x = self.norm(self.subsampling(features, None))
        real = (processed // SUBSAMPLING)[:, None] >= shape.left - torch.arange(shape.left)
        mask = torch.cat([(~real).float() * -1e4, torch.zeros_like(x[:, :, 0])], dim=1)[:, None, None]
        attended, convolved = attended.transpose(1, 2), convolved.transpose(1, 2)
        sources, gates = [], []
        for index, block in enumerate(self.blocks):
            x, source, gated = block(x, attended[index], convolved[index], mask)
            sources.append(source[:, -shape.left :])
            gates.append(gated[:, 1 - shape.kernel :])
        return x, torch.stack(sources).transpose(1, 2), torch.stack(gates).transpose(1, 2)
