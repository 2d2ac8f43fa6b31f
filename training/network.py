"""Whisper's modules with the training's own forward pass: guided attention and frame labels."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from whisper.model import ModelDimensions, MultiHeadAttention, ResidualAttentionBlock, Whisper

from training.batches import CHARACTERS, Batch
from training.targets import IGNORED
from training.vocabulary_rows import NUM_TOKENS, used_tokens

SPELLING_WEIGHT = 0.3
NAMING_WEIGHT = 1.0
NAMED_SHARE = 3  # one frame in this many is named
GUIDE_WEIGHT = 2.0
COMPUTE = torch.bfloat16
EXPLICIT = False  # flash attention: twice as fast in training as explicit on AVX-512


def dimensions(num_tokens: int) -> ModelDimensions:
    """The demo model's sizes with `num_tokens` rows in its vocabulary."""
    return ModelDimensions(
        n_mels=80, n_audio_ctx=1500, n_audio_state=256, n_audio_head=4, n_audio_layer=4,
        n_vocab=num_tokens, n_text_ctx=448, n_text_state=256, n_text_head=4, n_text_layer=2,
    )  # fmt: skip


@dataclass(slots=True)
class Losses:
    """Means over tokens (text, guide) and frames (spelling, naming); `correct`: share of right tokens."""

    text: Tensor
    spelling: Tensor
    guide: Tensor
    naming: Tensor
    correct: Tensor

    @property
    def total(self) -> Tensor:
        heard = SPELLING_WEIGHT * self.spelling + NAMING_WEIGHT * self.naming
        return self.text + heard + GUIDE_WEIGHT * self.guide


def attention(
    module: MultiHeadAttention, x: Tensor, source: Tensor, mask: Tensor | None, wants_weights: bool
) -> tuple[Tensor, Tensor | None]:
    """Output [batch, queries, state] and, when wanted, the weights [batch, heads, queries, keys]."""
    batch, queries, state = x.shape
    heads = module.n_head
    x, source = x.to(COMPUTE), source.to(COMPUTE)  # once, where autocast would cast for each projection
    split = (batch, -1, heads, state // heads)
    q = module.query(x).view(split).transpose(1, 2)
    k = module.key(source).view(split).transpose(1, 2)
    v = module.value(source).view(split).transpose(1, 2)
    if not wants_weights:
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return module.out(out.transpose(1, 2).reshape(batch, queries, state)), None
    scores = q @ k.transpose(-1, -2) * (state // heads) ** -0.5
    weights = scores.float().softmax(dim=-1)
    out = (weights.to(v.dtype) @ v).transpose(1, 2).reshape(batch, queries, state)
    return module.out(out), weights


def mlp(block: ResidualAttentionBlock, x: Tensor) -> Tensor:
    return x + block.mlp(block.mlp_ln(x))


class Network(nn.Module):
    """The demo model over compact token ids; the last row stands for all unused tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.num_used = len(used_tokens())
        self.whisper = Whisper(dimensions(self.num_used + 1))
        nn.init.normal_(self.whisper.decoder.token_embedding.weight, std=0.02)
        nn.init.normal_(self.whisper.decoder.positional_embedding, std=0.01)
        self.name = nn.Linear(self.whisper.dims.n_audio_state, self.whisper.dims.n_text_state)
        self.spell = nn.Linear(self.whisper.dims.n_audio_state, len(CHARACTERS))
        bias = torch.zeros(self.num_used + 1)
        bias[-1] = math.log(NUM_TOKENS - self.num_used)
        self.register_buffer("shared_bias", bias, persistent=False)

    def encode(self, log_mel: Tensor, offset: int) -> Tensor:
        """Audio features [batch, frames / 2, state], as if the input began at encoder position `offset`."""
        encoder = self.whisper.encoder
        x = F.gelu(encoder.conv1(log_mel))
        x = F.gelu(encoder.conv2(x)).transpose(1, 2).float()
        x = x + encoder.positional_embedding[offset : offset + x.shape[1]]
        for block in encoder.blocks:
            normed = block.attn_ln(x)
            x = mlp(block, x + attention(block.attn, normed, normed, None, EXPLICIT)[0])
        return encoder.ln_post(x)

    def decode(self, tokens: Tensor, features: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Last states [batch, tokens, state] and each layer's cross-attention, mean of its heads."""
        decoder = self.whisper.decoder
        length = tokens.shape[1]
        x = decoder.token_embedding(tokens) + decoder.positional_embedding[:length]
        mask = decoder.mask[:length, :length]
        attended = []
        for block in decoder.blocks:
            normed = block.attn_ln(x)
            x = x + attention(block.attn, normed, normed, mask.to(COMPUTE), False)[0]
            out, weights = attention(block.cross_attn, block.cross_attn_ln(x), features, None, True)
            attended.append(weights.mean(dim=1))
            x = mlp(block, x + out)
        return decoder.ln(x), attended

    def forward(self, batch: Batch) -> Losses:
        features = self.encode(batch.log_mel, batch.offset).to(COMPUTE)
        states, attended = self.decode(batch.inputs, features)
        is_text = batch.labels != IGNORED
        labels = batch.labels[is_text]
        embedding = self.whisper.decoder.token_embedding.weight
        logits = F.linear(states[is_text], embedding)
        logits = logits.float() + self.shared_bias
        text = F.cross_entropy(logits, labels)
        correct = (logits.detach().argmax(-1) == labels).float().mean()
        letters = self.spell(features).float()
        spelling = F.cross_entropy(letters.flatten(0, 1), batch.spelling.flatten())
        start = int(torch.randint(NAMED_SHARE, ()))
        names = F.linear(self.name(features[:, start::NAMED_SHARE]), embedding).float()
        naming = F.cross_entropy(names.flatten(0, 1), batch.naming[:, start::NAMED_SHARE].flatten())
        return Losses(text, spelling, two_hop_guide(attended, batch.heard), naming, correct)


def two_hop_guide(attended: list[Tensor], heard: Tensor) -> Tensor:
    """Mean of the guides of the first and the last layer.

    The last layer attends to the token it predicts, the first to the token before, which it can find by what
    it is: from there the next one is a step in position, where finding it at once takes far longer to learn.
    """
    before = torch.cat([torch.zeros_like(heard[:, :1]), heard[:, :-1]], dim=1)
    return (guide_loss(attended[0], before) + guide_loss(attended[-1], heard)) / 2


def guide_loss(weights: Tensor, heard: Tensor) -> Tensor:
    """Cross-entropy of attention [batch, tokens, frames] against uniform spans `heard`, over heard tokens."""
    frames = torch.arange(weights.shape[-1], device=weights.device)
    inside = (frames >= heard[..., :1]) & (frames < heard[..., 1:])
    counts = inside.sum(-1)
    spent = -((weights + 1e-6).log() * inside).sum(-1)
    is_heard = counts > 0
    return (spent[is_heard] / counts[is_heard]).sum() / is_heard.sum().clamp(min=1)
