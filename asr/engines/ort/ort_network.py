"""Encoder and decoder through ONNX Runtime, over caches that torch and it share byte by byte."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from asr.audio.onnx_runtime import onnxruntime
from asr.constants import FRAMES_PER_POSITION
from asr.engines.checkpoints.checkpoint import Checkpoint
from asr.engines.checkpoints.dimensions import ModelDims
from asr.engines.decoding.kv_cache import CrossCache, SelfCache
from asr.engines.device import Placement

NUMPY_TYPES = {torch.float32: np.float32, torch.int64: np.int64, torch.int32: np.int32}


@dataclass(frozen=True, slots=True)
class Sessions:
    encoder: onnxruntime.InferenceSession
    crossing: onnxruntime.InferenceSession
    decoder: onnxruntime.InferenceSession


class OrtNetwork:
    """A model's forward passes on ONNX Runtime; implements `asr.engines.decoding.network.Network`."""

    def __init__(self, checkpoint: Checkpoint, placement: Placement, sessions: Sessions) -> None:
        self._dims = checkpoint.dims
        self._placement = placement
        self._sessions = sessions
        self.decoder = OrtDecoder(checkpoint, placement, sessions.decoder)

    def cross_cache(self, windows: int, positions: int, *, is_kept: bool) -> CrossCache:
        """Room for keys and values of `windows`."""
        dims = self._dims
        size = dims.n_text_state // dims.n_text_head
        shape = (dims.n_text_layer, windows, dims.n_text_head, positions, size)
        # a step reads them all, row by row
        return CrossCache.empty(shape, self._placement, keys_swapped=True, values_swapped=True)

    def features(self, log_mel: Tensor) -> Tensor:
        """[windows, positions, state] of log_mel float32 [windows, n_mels, frames]."""
        positions = log_mel.shape[2] // FRAMES_PER_POSITION
        features = log_mel.new_empty(len(log_mel), positions, self._dims.n_audio_state)
        binding = Binding(self._sessions.encoder)
        binding.input("mel", log_mel.contiguous())
        binding.output("features", features)
        binding.run()
        return features

    def fill_cross_cache(self, cross: CrossCache, features: Tensor, first: int) -> None:
        """Keep keys and values of the features as windows `first` and on."""
        part = cross.slots(range(first, first + len(features)))
        binding = Binding(self._sessions.crossing)
        binding.input("features", features)
        for name, tensor in _cross_tensors(part):
            binding.output(name, tensor)
        binding.run()


class OrtDecoder:
    """Whisper's text decoder; implements `asr.engines.decoding.network.StepDecoder`."""

    def __init__(
        self, checkpoint: Checkpoint, placement: Placement, session: onnxruntime.InferenceSession
    ) -> None:
        self._dims: ModelDims = checkpoint.dims
        self._heads = checkpoint.alignment_heads
        self._placement = placement
        self._session = session
        self._logits = torch.empty(0, 1, self._dims.n_vocab)  # of a step, overwritten by the next one

    def cross_to_search(
        self, cross: CrossCache, windows: Sequence[int], room: int, *, is_kept: bool
    ) -> CrossCache:
        """The caches of some windows, with room for `room`, for a search to overwrite."""
        return cross.for_search(windows, room, is_kept=is_kept)

    def self_cache(self, windows: int, group: int, columns: int) -> SelfCache:
        """An empty cache for `group` rows per window."""
        dims = self._dims
        size = dims.n_text_state // dims.n_text_head
        shape = (dims.n_text_layer, windows * group, dims.n_text_head, columns, size)
        return SelfCache.empty(shape, group, self._placement)

    def prompt_logits(
        self, tokens: Tensor, places: Tensor, cross: CrossCache, cache: SelfCache | None = None
    ) -> Tensor:
        """Logits at some places of whole token sequences, see `StepDecoder`."""
        binding, logits, own = self._bound_prompts(tokens, places, cross)
        binding.run()
        if cache is not None:
            for layer, (keys, values) in enumerate(zip(own.keys, own.values, strict=True)):
                cache.write_prompts(layer, keys, values)
        return logits

    def scored_logits(
        self, tokens: Tensor, places: Tensor, cross: CrossCache, heads: Sequence[tuple[int, int]]
    ) -> tuple[Tensor, Tensor]:
        """The same with the scores of the alignment heads, see `StepDecoder`."""
        binding, logits, _ = self._bound_prompts(tokens, places, cross)
        ordered = sorted(self._heads, key=lambda head: head[0])  # by layer, as the graph lists them
        shape = (len(tokens), len(ordered), tokens.shape[1], cross.keys.shape[3])
        scores = torch.empty(shape, device=tokens.device)
        binding.output("scores", scores)
        binding.run()
        return logits, scores[:, [ordered.index(head) for head in heads]]

    def next_logits(
        self, tokens: Tensor, positions: Tensor, cross: CrossCache, cache: SelfCache, columns: int
    ) -> Tensor:
        """Logits after one more token per live row, see `StepDecoder`; overwritten by the next step."""
        rows = len(tokens)
        if len(self._logits) < rows:
            self._logits = torch.empty(rows, 1, self._dims.n_vocab, device=tokens.device)
        binding = Binding(self._session)
        binding.input("tokens", tokens.contiguous()[:, None])
        binding.input("positions", positions[:, None])
        binding.input("places", torch.zeros(rows, 1, 1, dtype=torch.int64, device=tokens.device))
        binding.lengths(positions, columns_total=int(positions.max()) + 1)
        self._bind_caches(binding, cross.slots(range(rows // cache.group)), cache.part(slice(0, rows)))
        logits = self._logits[:rows]
        binding.output("logits", logits)
        binding.run()
        return logits[:, 0]

    def _bound_prompts(
        self, tokens: Tensor, places: Tensor, cross: CrossCache
    ) -> tuple[Binding, Tensor, SelfCache]:
        """A run over whole sequences: its logits, and the keys and values of the tokens."""
        windows, length = tokens.shape
        own = self.self_cache(windows, 1, length)
        binding = Binding(self._session)
        binding.input("tokens", tokens)
        binding.input("positions", torch.arange(length, device=tokens.device).repeat(windows, 1))
        binding.input("places", places[:, :, None].contiguous())
        binding.lengths(torch.full((windows,), length - 1, device=tokens.device), columns_total=length)
        self._bind_caches(binding, cross, own)
        logits = torch.empty(windows, places.shape[1], self._dims.n_vocab, device=tokens.device)
        binding.output("logits", logits)
        return binding, logits, own

    def _bind_caches(self, binding: Binding, cross: CrossCache, cache: SelfCache) -> None:
        for name, tensor in _cross_tensors(cross):
            binding.input(name, tensor)
        for layer, pair in enumerate(zip(cache.keys, cache.values, strict=True)):
            for kind, tensor in zip("kv", pair, strict=True):  # the new tokens join the old ones in place
                binding.input(f"p{kind}{layer}", tensor)
                binding.output(f"n{kind}{layer}", tensor)


def _cross_tensors(cross: CrossCache) -> list[tuple[str, Tensor]]:
    """Name in the graphs → keys and values of each layer, [W, heads, size, T]."""
    named = []
    for layer, pair in enumerate(zip(cross.keys, cross.values, strict=True)):
        named += [(f"c{kind}{layer}", each.transpose(-1, -2)) for kind, each in zip("kv", pair, strict=True)]
    return named


class Binding:
    """One run of a session over torch's memory; nothing is copied."""

    def __init__(self, session: onnxruntime.InferenceSession) -> None:
        self._session = session
        self._binding = session.io_binding()
        self._alive: list[Tensor] = []

    def input(self, name: str, tensor: Tensor) -> None:
        self._binding.bind_input(name, *self._described(tensor))

    def output(self, name: str, tensor: Tensor) -> None:
        self._binding.bind_output(name, *self._described(tensor))

    def lengths(self, last: Tensor, columns_total: int) -> None:
        """GroupQueryAttention's: the last position of each row, and how many columns the longest has."""
        self.input("lengths", last.to(torch.int32))
        self.input("total", torch.tensor(columns_total, dtype=torch.int32))  # it reads this on the host

    def run(self) -> None:
        self._session.run_with_iobinding(self._binding)

    def _described(self, tensor: Tensor) -> tuple[str, int, object, list[int], int]:
        if not tensor.is_contiguous():
            raise ValueError("ONNX Runtime reads memory as it lies: the tensor must be contiguous")
        self._alive.append(tensor)
        device = tensor.device
        numbers = NUMPY_TYPES[tensor.dtype]
        return device.type, device.index or 0, numbers, list(tensor.shape), tensor.data_ptr()
