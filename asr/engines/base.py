"""What every engine does around its batches: state, outcomes, warm-up. A backend adds how it loads."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np

from asr.config import EngineConfig
from asr.constants import WINDOW_FRAMES, WINDOW_SAMPLES
from asr.engine import ModelSpec
from asr.engines.batch_runner import BatchRunner
from asr.engines.checkpoints.checkpoint import Checkpoint
from asr.engines.decoding.plan import check_options
from asr.engines.memory_plan import least_rows
from asr.errors import AsrError
from asr.schema import DecodingOptions, Hypothesis, Window
from asr.text.tokenizer import Tokenizer


class LoadedModel(Protocol):
    """A model ready to decode one batch; it lets errors through."""

    @property
    def tokenizer(self) -> Tokenizer: ...

    def decode(self, windows: Sequence[Window]) -> list[Hypothesis]: ...


class BaseEngine(ABC):
    """Implements `asr.engine.Engine`. Cheap to make, `load` does the work."""

    def __init__(self, config: EngineConfig) -> None:
        self._config = config
        self._model: LoadedModel | None = None
        self._spec: ModelSpec | None = None
        self._runner = BatchRunner(
            config.max_batch_size,
            least_rows(config.max_batch_size),
            check=self.check,
            decode_batch=lambda windows: self.model.decode(windows),
            is_out_of_memory=self.is_out_of_memory,
            after_out_of_memory=self.free_memory,
        )

    @abstractmethod
    def load(self) -> None:
        """Read the weights; raises ConfigError when they are unusable or the batch cannot fit."""

    @property
    @abstractmethod
    def description(self) -> str:
        """Device and number format, for the log: "cpu bfloat16"."""

    @abstractmethod
    def is_out_of_memory(self, error: Exception) -> bool:
        """Whether an error of the backend means that memory ran out."""

    def free_memory(self) -> None:
        """Give back what the backend keeps, before half a batch is tried; most keep nothing."""
        return

    def check(self, window: Window) -> None:
        """Raises InvalidOption where the model or the backend cannot do what the window asks for."""
        check_options(window.options, self.model.tokenizer)

    def warm_up(self) -> None:
        """Decode silence once, words included, so that the first request pays for no allocation."""
        self.decode([silent_window()])

    @property
    def model(self) -> LoadedModel:
        if self._model is None:
            raise RuntimeError(f"{type(self).__name__}.load() has not been called")
        return self._model

    @property
    def spec(self) -> ModelSpec:
        if self._spec is None:
            raise RuntimeError(f"{type(self).__name__}.load() has not been called")
        return self._spec

    @property
    def _encodes_short_windows(self) -> bool:
        return not self._config.full_windows

    @property
    def max_batch_size(self) -> int:
        return self._config.max_batch_size

    @property
    def oom_count(self) -> int:
        """Batches that ran out of memory."""
        return self._runner.oom_count

    def decode(self, windows: Sequence[Window]) -> list[Hypothesis | AsrError]:
        """One outcome per window, in order; never raises for a window's sake."""
        return self._runner.decode(windows)

    def _ready(self, checkpoint: Checkpoint, model: LoadedModel, max_rows: int) -> None:
        """The model is loaded and a batch may have `max_rows` rows."""
        spec = replace(checkpoint.spec(), short_windows=self._encodes_short_windows)
        self._model, self._spec, self._runner.max_rows = model, spec, max_rows


def silent_window() -> Window:
    """30 s of silence that a warm-up decodes."""
    options = DecodingOptions(language="en", max_tokens=8, word_timestamps=True, suppress_blank=False)
    return Window(np.zeros(WINDOW_SAMPLES, dtype=np.int16), WINDOW_FRAMES, options)
