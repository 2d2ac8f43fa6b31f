"""The Engine on CTranslate2: int8 on CPUs, the same checkpoint, protocol and guards."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from asr.config import ConfigError, EngineConfig
from asr.constants import WINDOW_FRAMES, WINDOW_SAMPLES
from asr.engine import ModelSpec
from asr.engines.batch_runner import BatchRunner
from asr.engines.checkpoint import load_checkpoint
from asr.engines.ctranslate2.conversion import converted_model, ctranslate2
from asr.engines.ctranslate2.model import Model, RunSettings
from asr.engines.decoding.plan import check_options
from asr.engines.device import Placement, cpu_threads, placement
from asr.engines.memory_plan import available_bytes, check_fits, least_rows, memory_plan, most_rows
from asr.errors import AsrError, InvalidOption
from asr.schema import DecodingOptions, Hypothesis, Window
from asr.text.tokenizer import Tokenizer, tokenizer_for

logger = logging.getLogger(__name__)

OUT_OF_MEMORY = ("out of memory", "bad_alloc")


class CTranslate2Engine:
    """Decodes with a converted model; implements `asr.engine.Engine`. Cheap to make, `load` does the work."""

    def __init__(self, config: EngineConfig, gpu_id: int | None = None) -> None:
        """Raises ConfigError when the package, the device or the compute type is missing here."""
        self._config = config
        self._device = placement(config, gpu_id).device
        self._compute_type = compute_type(config, self._device.type)
        self._model: Model | None = None
        self._spec: ModelSpec | None = None
        self._runner = BatchRunner(
            config.max_batch_size,
            least_rows(config.max_batch_size),
            check=self._check,
            decode_batch=lambda windows: self._loaded().decode(windows),
            is_out_of_memory=is_out_of_memory,
        )

    def load(self) -> None:
        """Load the weights, converted now or before; raises ConfigError when they are unusable."""
        config = self._config
        checkpoint = load_checkpoint(config.model)
        dims = checkpoint.dims
        # float32 at most, whatever the compute type: activations and caches are
        place, available = Placement(self._device, torch.float32), available_bytes(self._device)
        needed = memory_plan(dims, place, config.max_batch_size)
        check_fits(needed, available)
        self._runner.max_rows = most_rows(needed, available, place, deterministic=config.deterministic)
        tokenizer = tokenizer_for(dims.multilingual, dims.num_languages)
        folder = converted_model(checkpoint, Path(config.model), tokenizer)
        threads = cpu_threads(config)
        if self._device.type == "cpu":
            torch.set_num_threads(threads)  # for the log-Mel spectrogram
        settings = RunSettings(
            self._device, self._compute_type, threads, config.deterministic, config.loop_guard
        )
        self._model = Model(folder, dims, tokenizer, settings)
        self._spec = ModelSpec(
            name=checkpoint.name,
            multilingual=dims.multilingual,
            num_languages=dims.num_languages,
            n_mels=dims.n_mels,
            n_text_ctx=dims.n_text_ctx,
        )
        logger.info("model %s on %s, %d threads", checkpoint.name, self.description, threads)

    def warm_up(self) -> None:
        """Decode silence once, words included, so that the first request pays for no allocation."""
        options = DecodingOptions(language="en", max_tokens=8, word_timestamps=True, suppress_blank=False)
        self.decode([Window(np.zeros(WINDOW_SAMPLES, dtype=np.int16), WINDOW_FRAMES, options)])

    @property
    def spec(self) -> ModelSpec:
        if self._spec is None:
            raise RuntimeError("CTranslate2Engine.load() has not been called")
        return self._spec

    @property
    def max_batch_size(self) -> int:
        return self._config.max_batch_size

    @property
    def description(self) -> str:
        """Device and number format, for the log: "cpu ctranslate2 int8_float32"."""
        name = self._model.compute_type if self._model else self._compute_type
        return f"{self._device} ctranslate2 {name}"

    @property
    def oom_count(self) -> int:
        """Batches that ran out of memory."""
        return self._runner.oom_count

    def decode(self, windows: Sequence[Window]) -> list[Hypothesis | AsrError]:
        """One outcome per window, in order; never raises for a window's sake."""
        return self._runner.decode(windows)

    def _loaded(self) -> Model:
        if self._model is None:
            raise RuntimeError("CTranslate2Engine.load() has not been called")
        return self._model

    def _check(self, window: Window) -> None:
        tokenizer = self._loaded().tokenizer
        check_options(window.options, tokenizer)
        _check_supported(window.options, tokenizer)


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
