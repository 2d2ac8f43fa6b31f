"""The Engine on sherpa-onnx: one greedy or beam search per window, no temperatures, no prompts."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from asr.audio.prepare import DEFAULT_N_MELS
from asr.checkpoint_files import checkpoint_name
from asr.config import ConfigError, EngineConfig
from asr.constants import HOP_LENGTH, MAX_GROUP, SAMPLE_RATE
from asr.engine import ModelSpec, OnFound
from asr.engines.batch_engine import BatchEngine
from asr.engines.device import cpu_threads
from asr.engines.sherpa.costs import SoundCosts
from asr.engines.sherpa.folder import SherpaFolder, read_folder
from asr.engines.sherpa.recognizers import GREEDY, Recipe, recognizer
from asr.engines.sherpa.sherpa_models import OfflineModel, SherpaModel, StreamingModel
from asr.engines.sherpa.trial import try_out
from asr.request.families import check_decoding
from asr.schema import DecodingOptions, EngineSeconds, Hypothesis, Window

logger = logging.getLogger(__name__)

MAX_BATCH_S = 2.0  # `engine.max_batch_s` where it is not set
OUT_OF_MEMORY = ("bad_alloc", "Failed to allocate memory")


class SherpaEngine(BatchEngine):
    """An engine of every family that sherpa-onnx decodes.

    The library tells nothing before all windows of a batch are done: `on_found` is never called.
    """

    _costs: SoundCosts

    def __init__(self, config: EngineConfig) -> None:
        """Raises ConfigError for settings that these models lack."""
        if config.device not in ("auto", "cpu"):
            raise ConfigError(
                f"engine.device is {config.device!r}, must be auto or cpu for sherpa-onnx, whose wheels have "
                "no CUDA: a row of config/models.yaml may name its own"
            )
        if config.adapter is not None:
            raise ConfigError(f"engine.adapter is {config.adapter!r}: only Whisper takes adapters")
        # beams share the encoder's work, which is most of it: they are no rows of a batch
        super().__init__(config, _no_costs(config), config.max_batch_size * MAX_GROUP)
        self._model: SherpaModel | None = None
        self._is_quantised = False

    def load(self) -> None:
        config, folder = self._config, Path(self._config.model)
        found = read_folder(folder, config.family, quantised=config.precision == "auto")
        if found.kind in GREEDY and config.search_paths:
            raise ConfigError(
                f"engine.search_paths is {config.search_paths}, must be 0: {folder} is no transducer, "
                "and other models search greedily"
            )
        recipe = self._recipe(found)
        try_out(recipe, folder)
        made = recognizer(recipe)
        self._model = StreamingModel(made) if recipe.is_streaming else OfflineModel(made)
        self._is_quantised = any(file.endswith(".int8.onnx") for file in found.files.values())
        self._spec = _spec(found, recipe, config)
        logger.info("model %s, %s, on %s, %d threads", folder, found.kind, self.description, recipe.threads)

    def warm_up(self) -> None:
        """Decodes noise twice: to allocate memory, and to know what a second of sound costs."""
        noise = np.random.default_rng(0).integers(-300, 300, 10 * SAMPLE_RATE).astype(np.int16)
        window = Window(noise, len(noise) // HOP_LENGTH, DecodingOptions())
        self.decode([window])
        self._costs = _no_costs(self._config)
        self.decode([window])

    @property
    def description(self) -> str:
        return f"cpu sherpa-onnx {'int8' if self._is_quantised else 'float32'}"

    def check(self, window: Window) -> None:
        check_decoding(window.options, self.spec)

    def is_out_of_memory(self, error: Exception) -> bool:
        """The library tells by its words only."""
        return isinstance(error, MemoryError) or any(sign in str(error) for sign in OUT_OF_MEMORY)

    def _recipe(self, found: SherpaFolder) -> Recipe:
        config = self._config
        return Recipe(
            found.kind,
            dict(found.files),
            cpu_threads(config),
            found.feature_dim,
            config.search_paths,
            found.bpe_vocab if config.search_paths else "",
            ends_turns=config.endpoints == "model",
        )

    def _decode_batch(self, windows: Sequence[Window], on_found: OnFound) -> list[Hypothesis]:
        assert self._model is not None
        begun = time.monotonic()
        parts = [[window] for window in windows] if self._config.deterministic else [windows]
        found = [hypothesis for part in parts for hypothesis in self._model.decode(part)]
        seconds = time.monotonic() - begun
        self._costs.record(windows, seconds)
        share = EngineSeconds(encode=seconds / len(windows))  # one call does all
        return [
            replace(each, language=window.options.language or self.spec.only_language or "", seconds=share)
            for each, window in zip(found, windows, strict=True)
        ]


def _no_costs(config: EngineConfig) -> SoundCosts:
    """Costs of which nothing is known yet."""
    return SoundCosts(config.max_batch_size, config.max_batch_s or MAX_BATCH_S)


def _spec(found: SherpaFolder, recipe: Recipe, config: EngineConfig) -> ModelSpec:
    return ModelSpec(
        name=checkpoint_name(Path(config.model)),
        multilingual=len(config.languages) != 1,
        num_languages=len(config.languages),
        n_mels=DEFAULT_N_MELS,  # of pictures; the library computes its own features
        n_text_ctx=0,
        family=found.family,
        languages=config.languages,
        search_paths=recipe.search_paths,
        has_hotwords=bool(recipe.bpe_vocab),
        has_word_times=found.has_times,
        hears_streams=recipe.is_streaming,
        ends_turns=recipe.is_streaming and recipe.ends_turns,
    )
