"""Tokens and audio features → hidden states → logits (whisper/model.py, TextDecoder), many rows at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from asr.engines.decoding.kv_cache import CrossCache, SelfCache
from asr.engines.device import Placement
from asr.engines.pytorch.attention import attention_layout, times
from asr.engines.pytorch.few_queries import HEAD_SIZE, attend_few
from asr.engines.pytorch.weights import DecoderWeights

# Up to this many queries per window a plain product beats torch's fused attention on the CPU
# (tiny, 16 windows, one query: 2.3 against 8 ms in float32); beyond it the score matrix costs memory.
MAX_PLAIN_QUERIES = 16


@dataclass(slots=True)
class CrossScores:
    """Collects the scores of chosen heads to the audio positions, before softmax; for word alignment."""

    heads: Sequence[tuple[int, int]]  # (layer, head)
    scores: dict[tuple[int, int], Tensor] = field(
        default_factory=dict
    )  # float32 [windows, tokens, positions]

    def collect(self, layer: int, queries: Tensor, keys: Tensor) -> None:
        """queries, keys: [windows, heads, tokens or positions, head_size]."""
        for wanted, head in self.heads:
            if wanted == layer:
                self.scores[layer, head] = (queries[:, head] @ keys[:, head].transpose(1, 2)).float()


class Decoder:
    """Whisper's text decoder without state of its own; caches are arguments."""

    def __init__(self, weights: DecoderWeights, placement: Placement) -> None:
        self._weights = weights
        self._placement = placement
        self._layout = attention_layout(placement)

    def cross_cache(self, windows: int, positions: int, *, is_kept: bool) -> CrossCache:
        """Room for the keys and values of `windows`; `is_kept`: no search may overwrite it."""
        weights, heads = self._weights, self._weights.num_heads
        size = weights.positions.shape[1] // heads
        shape = (len(weights.layers), windows, heads, positions, size)
        keys_swapped, values_swapped = self._layout.keys.is_swapped, self._layout.values.is_swapped
        return CrossCache.empty(
            shape, self._placement, keys_swapped=keys_swapped, values_swapped=values_swapped
        )

    def fill_cross_cache(self, cross: CrossCache, features: Tensor, first: int) -> None:
        """Keep keys and values of audio features [windows, positions, state] as windows `first` and on."""
        weights = self._weights
        windows, positions, _ = features.shape
        here = slice(first, first + windows)
        for layer, (key, value) in enumerate(zip(weights.cross_keys, weights.cross_values, strict=True)):
            for projection, kept in ((key, cross.keys), (value, cross.values)):
                projected = projection(features).view(windows, positions, weights.num_heads, -1)
                kept[layer, here] = projected.transpose(1, 2)

    def cross_to_search(
        self, cross: CrossCache, windows: Sequence[int], room: int, *, is_kept: bool
    ) -> CrossCache:
        """The caches of some windows, with room for `room`, for a search to overwrite."""
        return cross.for_search(windows, room, is_kept=is_kept)

    def self_cache(self, windows: int, group: int, columns: int) -> SelfCache:
        """An empty cache for `group` rows per window."""
        weights = self._weights
        size = weights.positions.shape[1] // weights.num_heads
        shape = (len(weights.layers), windows * group, weights.num_heads, columns, size)
        return SelfCache.empty(shape, group, self._placement)

    def prompt_logits(
        self, tokens: Tensor, places: Tensor, cross: CrossCache, cache: SelfCache | None = None
    ) -> Tensor:
        """Logits at some places of whole token sequences, see `StepDecoder`."""
        return self._logits_at(self.prefill(tokens, cross, cache), places)

    def scored_logits(
        self, tokens: Tensor, places: Tensor, cross: CrossCache, heads: Sequence[tuple[int, int]]
    ) -> tuple[Tensor, Tensor]:
        """The same with the scores of some heads, see `StepDecoder`."""
        scores = CrossScores(heads)
        logits = self._logits_at(self.prefill(tokens, cross, scores=scores), places)
        return logits, torch.stack([scores.scores[head] for head in heads], 1)

    def _logits_at(self, hidden: Tensor, places: Tensor) -> Tensor:
        """float32 [windows, places, n_vocab] of hidden states [windows, length, state]."""
        rows = torch.arange(len(hidden), device=hidden.device)[:, None]
        return self.logits(hidden[rows, places])

    def prefill(
        self,
        tokens: Tensor,
        cross: CrossCache,
        cache: SelfCache | None = None,
        scores: CrossScores | None = None,
    ) -> Tensor:
        """Hidden states [windows, length, state] of whole token sequences.

        tokens: int64 [windows, length], padded on the right: what follows a token never reaches it. With a
        `cache`, keys and values of every row of each window are kept there.
        """
        weights = self._weights
        windows, length = tokens.shape
        x = weights.embedding[tokens] + weights.positions[:length]
        for layer, (attention, crossing, mlp) in enumerate(weights.layers):
            qkv = attention.qkv(attention.norm(x)).view(windows, length, 3, weights.num_heads, -1)
            q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # each [windows, heads, length, size]
            if cache is not None:
                cache.write_prompts(layer, k, v)
            attended = F.scaled_dot_product_attention(q, k, v, is_causal=length > 1, scale=1.0)
            x = x + attention.out(attended.transpose(1, 2).flatten(2))
            q = crossing.query(crossing.norm(x)).view(windows, length, weights.num_heads, -1).transpose(1, 2)
            if scores is not None:
                scores.collect(layer, q, cross.keys[layer])
            x = x + crossing.out(self._cross_attend(q, cross, layer).transpose(1, 2).flatten(2))
            x = x + mlp.down(F.gelu(mlp.up(mlp.norm(x))))
        return weights.norm(x)

    def step(
        self, tokens: Tensor, positions: Tensor, cross: CrossCache, cache: SelfCache, columns: int
    ) -> Tensor:
        """Hidden states [rows, state] of one more token per live row, kept in `cache`.

        tokens, positions: int64 [rows]; `columns`: how many columns the longest row has, this token included.
        """
        weights, heads = self._weights, self._weights.num_heads
        rows, windows = len(tokens), len(tokens) // cache.group
        x = weights.embedding[tokens] + weights.positions[positions]
        index = cache.write_index(positions)
        mask = self._future_mask(positions, columns)
        for layer, (attention, crossing, mlp) in enumerate(weights.layers):
            q, k, v = attention.qkv(attention.norm(x)).view(rows, 3, heads, -1).unbind(1)
            cache.write(layer, index, k, v)
            attended = self._self_attend(q, *cache.read(layer, rows, columns), mask)
            x = x + attention.out(attended)
            q = crossing.query(crossing.norm(x)).view(windows, cache.group, heads, -1).transpose(1, 2)
            attended = self._cross_attend(q, cross, layer).transpose(1, 2)
            x = x + crossing.out(attended.reshape(rows, -1))
            x = x + mlp.down(F.gelu(mlp.up(mlp.norm(x))))
        return weights.norm(x)

    def next_logits(
        self, tokens: Tensor, positions: Tensor, cross: CrossCache, cache: SelfCache, columns: int
    ) -> Tensor:
        """Logits float32 [rows, n_vocab] after one more token per live row; arguments as of `step`."""
        return self.logits(self.step(tokens, positions, cross, cache, columns))

    def logits(self, hidden: Tensor) -> Tensor:
        """float32 [..., n_vocab] of hidden states [..., state]."""
        weights = self._weights
        if weights.fine_head is None:
            return weights.head(hidden).float()
        # filled part by part: a concatenation would write the text's logits twice
        text, rest = weights.head(hidden), weights.fine_head(hidden)
        num_text = text.shape[-1]
        logits = rest.new_empty(*text.shape[:-1], num_text + rest.shape[-1])
        logits[..., :num_text] = text
        logits[..., num_text:] = rest
        return logits

    def _future_mask(self, positions: Tensor, columns: int) -> Tensor:
        """[rows, 1, 1, columns], -inf behind each row's own last token, 0 elsewhere."""
        behind = torch.arange(columns, device=positions.device) > positions[:, None]
        mask = torch.zeros(behind.shape, dtype=self._placement.dtype, device=positions.device)
        return mask.masked_fill_(behind, -torch.inf)[:, None, None]

    def _self_attend(self, q: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
        """[rows, state] of queries [rows, heads, size] over [rows, heads, columns, size]."""
        rows, heads, size = q.shape
        if self._placement.is_cuda:
            q = q[:, :, None]
            return F.scaled_dot_product_attention(q, keys, values, attn_mask=mask, scale=1.0).flatten(1)
        # heads and rows merge without a copy: neither is cut
        keys, values = keys.flatten(0, 1), values.flatten(0, 1)
        scores = torch.bmm(q.reshape(rows * heads, 1, size), keys.transpose(1, 2))
        weights = (scores.view(rows, heads, 1, -1) + mask).softmax(-1)
        return torch.bmm(weights.view(rows * heads, 1, -1), values).view(rows, -1)

    def _cross_attend(self, q: Tensor, cross: CrossCache, layer: int) -> Tensor:
        """[windows, heads, queries, size] of queries of that shape to their window's audio."""
        windows, heads, queries, size = q.shape
        keys, values = cross.keys[layer, :windows], cross.values[layer, :windows]
        if self._placement.is_cuda:
            return F.scaled_dot_product_attention(q, keys, values, scale=1.0)
        if queries > MAX_PLAIN_QUERIES:
            return F.scaled_dot_product_attention(q, keys.contiguous(), values.contiguous(), scale=1.0)
        q, keys, values = (tensor.flatten(0, 1) for tensor in (q, keys, values))
        if queries <= self._layout.loops_up_to and size == HEAD_SIZE:
            return attend_few(q, keys, values).view(windows, heads, queries, size)
        weights = times(q, keys.transpose(1, 2), self._layout.keys).softmax(-1)
        return times(weights, values, self._layout.values).view(windows, heads, queries, size)
