"""The decoder over memory that stays where it is, so that its steps can be recorded and replayed."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from asr.engines.decoding.kv_cache import CrossCache, SelfCache
from asr.engines.device import Placement
from asr.engines.pytorch.decoder import Decoder
from asr.engines.pytorch.step_graphs import Bucket, Recorder, Step
from asr.engines.pytorch.weights import DecoderWeights

logger = logging.getLogger(__name__)

# Largest difference of a replayed step's logits to an ordinary one's, as a share of the largest logit. Both
# run the same kernels unless a library chooses another one; a wrong address is off by the whole.
TOLERANCE = {torch.float32: 1e-3, torch.float16: 1e-2, torch.bfloat16: 5e-2}


@dataclass(frozen=True, slots=True)
class _Memory:
    """What recorded steps read and write, one row per window."""

    cross: CrossCache
    cache: SelfCache  # as many columns as the model has positions
    tokens: Tensor  # int64 [rows]
    positions: Tensor  # int64 [rows]
    logits: Tensor  # float32 [rows, n_vocab]

    def is_where(self, cross: CrossCache, cache: SelfCache) -> bool:
        """Whether these caches are the first rows of the fixed ones."""
        pairs = ((cross.keys, self.cross.keys), (cache.keys, self.cache.keys))
        return all(given.data_ptr() == fixed.data_ptr() for given, fixed in pairs)

    def fill_with_noise(self) -> None:
        """Caches that no step can mistake for others'."""
        noise = torch.Generator(self.tokens.device).manual_seed(0)
        for cache in (self.cross.keys, self.cross.values, self.cache.keys, self.cache.values):
            cache.normal_(generator=noise)

    def draw_inputs(self, bucket: Bucket) -> None:
        """Any tokens at any positions of the bucket, other ones for every bucket; no logits."""
        noise = torch.Generator(self.tokens.device).manual_seed(bucket.rows * bucket.columns)
        self.tokens.random_(self.logits.shape[1], generator=noise)
        self.positions.random_(bucket.columns, generator=noise)
        self.logits.fill_(torch.nan)


class StaticDecoder(Decoder):
    """Replays the steps of searches with one row per window; the results are the ordinary decoder's.

    One pair of caches serves every bucket: live rows are the first ones, also after compaction, so a bucket
    is a view of the first rows and columns. A bucket's rows that belong to no window decode what was left
    there, and nobody reads them. Everything else (prompts, beams, several samples per window, buckets that
    could not be recorded) goes the ordinary way. One search at a time owns the memory.
    """

    def __init__(
        self, weights: DecoderWeights, placement: Placement, audio_positions: int, record: Recorder
    ) -> None:
        super().__init__(weights, placement)
        self._audio_positions = audio_positions
        self._record = record
        self._memory: _Memory | None = None
        self._buckets: tuple[Bucket, ...] = ()
        self._steps: dict[Bucket, Step] = {}

    def record_steps(self, wanted: tuple[Bucket, ...]) -> None:
        """Record a step per bucket, the largest last, and compare each with an ordinary one.

        What fails, for whatever reason, is decoded the ordinary way; one warning names it.
        """
        begun = time.perf_counter()
        failed: dict[str, list[str]] = {}
        self._buckets = wanted
        for bucket in wanted:
            try:
                self._memory = self._memory or self._allocated(wanted[-1])
                self._steps[bucket] = self._recorded(bucket, self._memory)
            except Exception as error:
                reason = f"{type(error).__name__}: {error}".partition("\n")[0]
                failed.setdefault(reason, []).append(str(bucket))
        if not self._steps:
            self._memory = None
        if failed:
            logger.warning("decode steps without CUDA graphs (rows x columns) and why: %s", failed)
        logger.info("%d decode steps recorded in %.1f s", len(self._steps), time.perf_counter() - begun)

    def cross_cache(self, windows: int, positions: int, *, is_kept: bool) -> CrossCache:
        if self._memory is None or is_kept or positions != self._audio_positions:
            return super().cross_cache(windows, positions, is_kept=is_kept)
        return self._memory.cross.slots(range(windows))

    def cross_to_search(
        self, cross: CrossCache, windows: Sequence[int], room: int, *, is_kept: bool
    ) -> CrossCache:
        if self._memory is None:
            return super().cross_to_search(cross, windows, room, is_kept=is_kept)
        if cross.keys.shape[3] != self._audio_positions:  # shorter windows than those that were recorded
            return super().cross_to_search(cross, windows, room, is_kept=is_kept)
        part, fixed = cross.select(windows), self._memory.cross.slots(range(room))
        if part.keys.data_ptr() != fixed.keys.data_ptr():
            fixed.keys[:, : len(windows)] = part.keys
            fixed.values[:, : len(windows)] = part.values
        return fixed

    def self_cache(self, windows: int, group: int, columns: int) -> SelfCache:
        if self._memory is None or group > 1:
            return super().self_cache(windows, group, columns)
        cache = self._memory.cache.part(slice(0, windows))
        # a NaN that an earlier batch left behind would pass through the mask, see SelfCache.empty
        cache.keys.zero_()
        cache.values.zero_()
        return cache

    def next_logits(
        self, tokens: Tensor, positions: Tensor, cross: CrossCache, cache: SelfCache, columns: int
    ) -> Tensor:
        """As the ordinary decoder's; the result is overwritten by the next step."""
        memory, rows = self._memory, len(tokens)
        bucket = next((bucket for bucket in self._buckets if bucket.holds(rows, columns)), None)
        step = self._steps.get(bucket) if bucket else None
        if memory is None or step is None or not memory.is_where(cross, cache):
            return super().next_logits(tokens, positions, cross, cache, columns)
        memory.tokens[:rows] = tokens
        memory.positions[:rows] = positions
        step()
        return memory.logits[:rows]

    def _allocated(self, largest: Bucket) -> _Memory:
        embedding, rows = self._weights.embedding, largest.rows
        memory = _Memory(
            cross=super().cross_cache(rows, self._audio_positions, is_kept=True),
            cache=super().self_cache(rows, 1, largest.columns),
            tokens=torch.zeros(rows, dtype=torch.int64, device=embedding.device),
            positions=torch.zeros(rows, dtype=torch.int64, device=embedding.device),
            logits=torch.zeros(rows, len(embedding), device=embedding.device),
        )
        memory.fill_with_noise()
        return memory

    def _recorded(self, bucket: Bucket, memory: _Memory) -> Step:
        """The replay of a step of these shapes; raises RuntimeError where the two differ."""
        rows = slice(0, bucket.rows)
        cache, cross = memory.cache.part(rows), memory.cross.slots(range(bucket.rows))

        def step() -> None:
            tokens, positions = memory.tokens[rows], memory.positions[rows]
            memory.logits[rows] = Decoder.next_logits(self, tokens, positions, cross, cache, bucket.columns)

        replay = self._record(step)
        memory.draw_inputs(bucket)  # not those that were recorded
        # the replay first: a step that wrote no key would find the other one's
        replay()
        replayed = memory.logits[rows].clone()
        step()
        expected = memory.logits[rows]
        difference, largest = float((replayed - expected).abs().max()), float(expected.abs().max())
        if not difference <= TOLERANCE[self._placement.dtype] * largest:  # also where either is NaN
            raise RuntimeError(f"its logits differ by {difference:.3g} where the largest is {largest:.3g}")
        return replay
