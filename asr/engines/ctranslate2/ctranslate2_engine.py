"""The Engine on CTranslate2: int8 on CPUs, the same checkpoint, protocol and guards."""

from __future__ import annotations

import logging
from pathlib import Path

import torch

from asr.config import ConfigError, EngineConfig
from asr.engines.base import BaseEngine
from asr.engines.checkpoints.checkpoint import load_checkpoint
from asr.engines.ctranslate2.conversion import converted_folder, ctranslate2
from asr.engines.ctranslate2.model import CTranslate2Model, RunSettings
from asr.engines.device import Placement, cpu_threads, placement
from asr.engines.memory_plan import available_bytes, check_fits, memory_plan, most_rows
from asr.errors import InvalidOption
from asr.schema import DecodingOptions, Window
from asr.text.tokenizer import Tokenizer

logger = logging.getLogger(__name__)

OUT_OF_MEMORY = ("out of memory", "bad_alloc")


class CTranslate2Engine(BaseEngine):
    """Decodes with a converted model."""

    def __init__(self, config: EngineConfig, gpu_id: int | None = None) -> None:
        """Raises ConfigError when the package, the device or the compute type is missing here."""
        super().__init__(config)
        self._device = placement(config, gpu_id).device
        self._compute_type = compute_type(config, self._device.type)

    def load(self) -> None:
        config = self._config
        checkpoint = load_checkpoint(config.model, config.adapter, takes_quantised=True)
        dims = checkpoint.dims
        # float32 at most, whatever the compute type: activations and caches are
        place, available = Placement(self._device, torch.float32), available_bytes(self._device)
        needed = memory_plan(dims, place, config.max_batch_size)
        check_fits(needed, available)
        tokenizer = checkpoint.tokenizer
        folder = (
            Path(config.model) if checkpoint.is_quantised else converted_folder(checkpoint, config.sources)
        )
        threads = cpu_threads(config)
        if self._device.type == "cpu":
            torch.set_num_threads(threads)  # for the log-Mel spectrogram
        settings = RunSettings(
            self._device, self._compute_type, threads, config.deterministic, config.loop_guard
        )
        model = CTranslate2Model(folder, dims, tokenizer, settings)
        self._compute_type = model.compute_type
        rows = most_rows(needed, available, place, deterministic=config.deterministic)
        self._ready(checkpoint, model, rows, self._device)
        logger.info("model %s on %s, %d threads", checkpoint.name, self.description, threads)

    @property
    def description(self) -> str:
        return f"{self._device} ctranslate2 {self._compute_type}"

    def is_out_of_memory(self, error: Exception) -> bool:
        return is_out_of_memory(error)

    def check(self, window: Window) -> None:
        super().check(window)
        _check_supported(window.options, self.model.tokenizer)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory ran out; CTranslate2 tells by its words only."""
    return isinstance(error, MemoryError) or any(sign in str(error) for sign in OUT_OF_MEMORY)


def compute_type(config: EngineConfig, device_type: str) -> str:
    """CTranslate2's name of the number format; raises ConfigError when it cannot compute in it here."""
    supported = ctranslate2().get_supported_compute_types(device_type)
    wanted: str = config.compute_type
    if wanted == "auto":
        fastest = "float16" if device_type == "cuda" else "int8"
        wanted = fastest if config.precision == "auto" else config.precision
    if wanted not in supported:
        raise ConfigError(
            f"engine.compute_type is {wanted!r}, which ctranslate2 cannot compute in on this {device_type}: "
            f"use auto or one of {', '.join(sorted(supported))}"
        )
    return wanted


def _check_supported(options: DecodingOptions, tokenizer: Tokenizer) -> None:
    """Raises InvalidOption for what CTranslate2 cannot do."""
    if tokenizer.sot in options.prompt:
        raise InvalidOption(
            "prompt holds <|startoftranscript|>, which the ctranslate2 backend cannot continue",
            param="prompt",
        )
    if options.token_logprobs and options.beam_size is not None and options.temperature == 0:
        raise InvalidOption(
            "the ctranslate2 backend tells no token probabilities of a beam search: leave beam_size out",
            param="beam_size",
        )
