"""What an engine of any family shows around its batches. A family adds how it loads and decodes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Protocol

from asr.config import EngineConfig
from asr.engine import ModelSpec, OnFound
from asr.engines.batch_runner import BatchRunner
from asr.errors import AsrError
from asr.schema import Hypothesis, Window


class Costs(Protocol):
    """What batches cost on this machine."""

    def most_together(self, frames: int) -> int:
        """Windows of `frames` encoder frames that a batch may have."""
        ...


class BatchEngine(ABC):
    """Implements `asr.engine.Engine`. Cheap to make, `load` does the work."""

    def __init__(self, config: EngineConfig, costs: Costs, max_rows: int) -> None:
        """max_rows: of a batch, as `BatchRunner` counts them."""
        self._config = config
        self._costs = costs
        self._spec: ModelSpec | None = None
        self._runner = BatchRunner(
            config.max_batch_size,
            max_rows,
            check=self.check,
            decode_batch=self._decode_batch,
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
    def check(self, window: Window) -> None:
        """Raises InvalidOption where the model or the backend cannot do what the window asks for."""

    @abstractmethod
    def _decode_batch(self, windows: Sequence[Window], on_found: OnFound) -> list[Hypothesis]:
        """One hypothesis per window of one forward pass; lets errors through."""

    @abstractmethod
    def is_out_of_memory(self, error: Exception) -> bool:
        """Whether an error of the backend means that memory ran out."""

    def free_memory(self) -> None:
        """Give back what the backend keeps, before half a batch is tried; most keep nothing."""
        return

    @property
    def spec(self) -> ModelSpec:
        if self._spec is None:
            raise RuntimeError(f"{type(self).__name__}.load() has not been called")
        return self._spec

    @property
    def max_batch_size(self) -> int:
        return self._config.max_batch_size

    def most_together(self, frames: int) -> int:
        """Windows of `frames` encoder frames that the next batch should have at most."""
        return self._costs.most_together(frames)

    @property
    def oom_count(self) -> int:
        """Batches that ran out of memory."""
        return self._runner.oom_count

    def decode(
        self, windows: Sequence[Window], on_found: OnFound | None = None
    ) -> list[Hypothesis | AsrError]:
        """One outcome per window, in order; never raises for a window's sake."""
        return self._runner.decode(windows, on_found)
