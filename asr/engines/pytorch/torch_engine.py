"""The Engine on PyTorch: batches of windows, errors as values, retries when memory runs out."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import torch

from asr.config import EngineConfig
from asr.constants import WINDOW_FRAMES, WINDOW_SAMPLES
from asr.engine import ModelSpec
from asr.engines.batch_runner import BatchRunner
from asr.engines.checkpoint import ModelDims, load_checkpoint
from asr.engines.decoding.plan import check_options
from asr.engines.device import cpu_threads, encoder_batch, placement
from asr.engines.memory_plan import (
    MIB,
    MemoryPlan,
    available_bytes,
    check_fits,
    least_rows,
    memory_plan,
    most_rows,
)
from asr.engines.pytorch.model import BatchSettings, Model
from asr.engines.pytorch.step_graphs import Recorder, buckets, step_recorder
from asr.errors import AsrError
from asr.schema import DecodingOptions, Hypothesis, Window

logger = logging.getLogger(__name__)

CPU_OUT_OF_MEMORY = (
    "can't allocate memory",
    "not enough memory",
    "DefaultCPUAllocator",
    "could not create a primitive",  # oneDNN's word for it
)


class TorchEngine:
    """Decodes with OpenAI's weights; implements `asr.engine.Engine`. Cheap to make, `load` does the work."""

    def __init__(self, config: EngineConfig, gpu_id: int | None = None) -> None:
        """Raises ConfigError when this machine lacks the device or the precision."""
        self._config = config
        self._placement = placement(config, gpu_id)
        self._model: Model | None = None
        self._spec: ModelSpec | None = None
        self._runner = BatchRunner(
            config.max_batch_size,
            least_rows(config.max_batch_size),
            check=lambda window: check_options(window.options, self._loaded().tokenizer),
            decode_batch=lambda windows: self._loaded().decode(windows),
            is_out_of_memory=is_out_of_memory,
            after_out_of_memory=self._empty_cache,
        )

    def load(self) -> None:
        """Read the weights; raises ConfigError when they are unusable or the batch cannot fit."""
        config = self._config
        threads = cpu_threads(config)
        if not self._placement.is_cuda:
            torch.set_num_threads(threads)
        together = encoder_batch(config, self._placement, threads)
        checkpoint = load_checkpoint(config.model)
        dims = checkpoint.dims
        needed, record = self._what_fits(dims, together)
        self._runner.max_rows = most_rows(
            needed,
            available_bytes(self._placement.device),
            self._placement,
            deterministic=config.deterministic,
        )
        settings = BatchSettings(
            config.max_batch_size, together, config.deterministic, config.loop_guard, record=record
        )
        self._model = Model(checkpoint, self._placement, settings)
        self._spec = ModelSpec(
            name=checkpoint.name,
            multilingual=dims.multilingual,
            num_languages=dims.num_languages,
            n_mels=dims.n_mels,
            n_text_ctx=dims.n_text_ctx,
        )
        cores = "" if self._placement.is_cuda else f", {threads} threads"
        logger.info("model %s on %s%s: %s", checkpoint.name, self._placement, cores, needed)

    def warm_up(self) -> None:
        """Record decode steps, decode silence, words included: the first request pays for no compilation."""
        self._loaded().record_steps()
        options = DecodingOptions(language="en", max_tokens=8, word_timestamps=True, suppress_blank=False)
        silence = np.zeros(WINDOW_SAMPLES, dtype=np.int16)
        window = Window(silence, WINDOW_FRAMES, options)
        sizes = {1, self.max_batch_size} if self._placement.is_cuda else {1}
        for size in sorted(sizes):
            self.decode([window] * size)

    @property
    def spec(self) -> ModelSpec:
        if self._spec is None:
            raise RuntimeError("TorchEngine.load() has not been called")
        return self._spec

    @property
    def max_batch_size(self) -> int:
        return self._config.max_batch_size

    @property
    def description(self) -> str:
        """Device and number format, for the log: "cpu bfloat16"."""
        return str(self._placement)

    @property
    def oom_count(self) -> int:
        """Batches that ran out of memory."""
        return self._runner.oom_count

    def decode(self, windows: Sequence[Window]) -> list[Hypothesis | AsrError]:
        """One outcome per window, in order; never raises for a window's sake."""
        outcomes = self._runner.decode(windows)
        self._keep_memory_low()
        return outcomes

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

    def _loaded(self) -> Model:
        if self._model is None:
            raise RuntimeError("TorchEngine.load() has not been called")
        return self._model

    def _empty_cache(self) -> None:
        if self._placement.is_cuda:
            torch.cuda.empty_cache()

    def _keep_memory_low(self) -> None:
        """Apply the configured policy for the memory that torch keeps reserved on the GPU."""
        if not self._placement.is_cuda or self._config.cache_policy == "never":
            return
        device = self._placement.device
        total = torch.cuda.get_device_properties(device).total_memory
        share = torch.cuda.memory_reserved(device) / total
        if self._config.cache_policy == "always" or share > self._config.cache_threshold:
            self._empty_cache()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory ran out, on the GPU or the CPU."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in CPU_OUT_OF_MEMORY)
