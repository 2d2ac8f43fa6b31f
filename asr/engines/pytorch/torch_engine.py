"""The engine on PyTorch: CPUs and NVIDIA's GPUs, in the number format that the device is fast in."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import torch

from asr.config import EngineConfig
from asr.engine import OnFound
from asr.engines.base import BaseEngine, silent_window
from asr.engines.checkpoints.checkpoint import load_checkpoint
from asr.engines.checkpoints.dimensions import ModelDims
from asr.engines.decoding.pipeline import BatchSettings, Pipeline
from asr.engines.device import cpu_threads, encoder_batch, is_out_of_memory, placement
from asr.engines.memory_plan import MIB, MemoryPlan, available_bytes, check_fits, memory_plan, most_rows
from asr.engines.pytorch.step_graphs import Recorder, buckets, step_recorder
from asr.engines.pytorch.torch_network import TorchNetwork
from asr.errors import AsrError
from asr.schema import Hypothesis, Window

logger = logging.getLogger(__name__)


class TorchEngine(BaseEngine):
    """Decodes with OpenAI's weights."""

    def __init__(self, config: EngineConfig, gpu_id: int | None = None) -> None:
        """Raises ConfigError when this machine lacks the device or the precision."""
        super().__init__(config)
        self._placement = placement(config, gpu_id)
        self._network: TorchNetwork | None = None

    def load(self) -> None:
        config, place = self._config, self._placement
        threads = cpu_threads(config)
        if not place.is_cuda:
            torch.set_num_threads(threads)
        together = encoder_batch(config, place, threads)
        checkpoint = load_checkpoint(config.model, config.adapter)
        needed, record = self._what_fits(checkpoint.dims, together)
        rows = most_rows(needed, available_bytes(place.device), place, deterministic=config.deterministic)
        settings = BatchSettings(config.max_batch_size, together, config.deterministic, config.loop_guard)
        self._network = TorchNetwork(checkpoint, place, record)
        self._ready(checkpoint, Pipeline(checkpoint, self._network, place, settings), rows, place.device)
        cores = "" if place.is_cuda else f", {threads} threads"
        logger.info("model %s on %s%s: %s", checkpoint.name, place, cores, needed)

    def warm_up(self) -> None:
        """Record decode steps, decode silence, words included: the first request pays for no compilation."""
        self.record_steps()
        sizes = {1, self.max_batch_size} if self._placement.is_cuda else {1}
        for size in sorted(sizes):
            self.decode([silent_window()] * size)
        self.measure()

    def record_steps(self) -> None:
        """Record the decode steps that searches will replay, where there is a recorder."""
        if self._network is None:
            raise RuntimeError("TorchEngine.load() has not been called")
        is_fixed = self._config.deterministic
        self._network.record_steps(
            buckets(self._config.max_batch_size, self.spec.n_text_ctx, is_fixed=is_fixed)
        )

    @property
    def _short_windows_pay(self) -> bool:
        """Not in 16 bits: decoding is most of the work there, and batches of one length are smaller."""
        return self._placement.dtype == torch.float32

    @property
    def description(self) -> str:
        return str(self._placement)

    def decode(
        self, windows: Sequence[Window], on_found: OnFound | None = None
    ) -> list[Hypothesis | AsrError]:
        outcomes = super().decode(windows, on_found)
        self._keep_memory_low()
        return outcomes

    def is_out_of_memory(self, error: Exception) -> bool:
        return is_out_of_memory(error)

    def free_memory(self) -> None:
        if self._placement.is_cuda:
            torch.cuda.empty_cache()

    def _what_fits(self, dims: ModelDims, together: int) -> tuple[MemoryPlan, Recorder | None]:
        """The memory needed, and what records decode steps; raises ConfigError where neither way fits."""
        config, place = self._config, self._placement
        available = available_bytes(place.device)
        record = step_recorder(config.cuda_graphs, place) if config.warm_up else None
        plan = memory_plan(dims, place, config.max_batch_size, together)
        if record is not None:
            steps = buckets(config.max_batch_size, dims.n_text_ctx, is_fixed=config.deterministic)
            recording = memory_plan(dims, place, config.max_batch_size, together, len(steps))
            if recording.total <= available:
                return recording, record
            logger.warning("no CUDA graphs: they need %s, %d MiB are available", recording, available / MIB)
        check_fits(plan, available)
        return plan, None

    def _keep_memory_low(self) -> None:
        """Apply the configured policy for the memory that torch keeps reserved on the GPU."""
        if not self._placement.is_cuda or self._config.cache_policy == "never":
            return
        device = self._placement.device
        total = torch.cuda.get_device_properties(device).total_memory
        share = torch.cuda.memory_reserved(device) / total
        if self._config.cache_policy == "always" or share > self._config.cache_threshold:
            self.free_memory()
