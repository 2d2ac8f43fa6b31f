"""What every engine of Whisper does: its warm-up, and what batches cost. A backend adds how it loads."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
import torch

from asr.audio.windows import ENCODER_FRAMES
from asr.config import EngineConfig
from asr.constants import HOP_LENGTH, WINDOW_FRAMES, WINDOW_SAMPLES
from asr.engine import OnFound
from asr.engines.batch_costs import TOKENS_PER_FRAME, BatchCosts
from asr.engines.batch_engine import BatchEngine
from asr.engines.checkpoints.checkpoint import Checkpoint
from asr.engines.decoding.plan import check_options
from asr.engines.memory_plan import least_rows
from asr.schema import DecodingOptions, Hypothesis, Window
from asr.text.tokenizer import Tokenizer

CPU_BATCH_S = 2.0  # `engine.max_batch_s` where it is not set
MEASURED_SIZES = (1, 2, 4)
MEASURING_S = 3.0  # of a start, after which only single windows are measured


class LoadedModel(Protocol):
    """A model ready to decode one batch; it lets errors through."""

    @property
    def tokenizer(self) -> Tokenizer: ...

    def decode(self, windows: Sequence[Window], on_found: OnFound) -> list[Hypothesis]:
        """on_found: called for a window that is done while others go on, by backends that can tell."""
        ...


class BaseEngine(BatchEngine):
    """An engine of Whisper but for its backend."""

    _costs: BatchCosts

    def __init__(self, config: EngineConfig) -> None:
        costs = BatchCosts(config.max_batch_size, None)
        super().__init__(config, costs, least_rows(config.max_batch_size))
        self._model: LoadedModel | None = None

    def check(self, window: Window) -> None:
        check_options(window.options, self.model.tokenizer)

    def warm_up(self) -> None:
        """Decode silence once, words included, so that the first request pays for no allocation."""
        self.decode([silent_window()])
        self.measure()

    def measure(self) -> None:
        """Decode silence as if it were speech, to know what batches cost, in sizes that will be used.

        Larger ones are learned from the requests: nobody waits at the start for what they cost.
        """
        if self._costs.max_batch_s is None:
            return
        self._costs.forget()
        begun = time.monotonic()
        for frames in (ENCODER_FRAMES[0], WINDOW_FRAMES) if self.spec.short_windows else (WINDOW_FRAMES,):
            for size in MEASURED_SIZES:
                is_late = size > 1 and time.monotonic() - begun > MEASURING_S
                if not is_late and size <= self.most_together(frames):
                    self.decode([self._probe(frames)] * size)

    @property
    def model(self) -> LoadedModel:
        if self._model is None:
            raise RuntimeError(f"{type(self).__name__}.load() has not been called")
        return self._model

    @property
    def _short_windows_pay(self) -> bool:
        """Whether encoding is most of the work on a CPU, so that short windows are faster."""
        return True

    def _ready(self, checkpoint: Checkpoint, model: LoadedModel, max_rows: int, device: torch.device) -> None:
        """The model is loaded on `device` and a batch may have `max_rows` rows."""
        config, is_cpu = self._config, device.type == "cpu"
        # a GPU's recorded steps have one shape, and there a batch takes as long with few windows as with many
        is_short = is_cpu and self._short_windows_pay and not config.full_windows
        self._spec = replace(checkpoint.spec(), short_windows=is_short)
        if is_cpu and not config.deterministic:  # which fills every batch up
            self._costs.max_batch_s = config.max_batch_s or CPU_BATCH_S
        self._model, self._runner.max_rows = model, max_rows

    def _decode_batch(self, windows: Sequence[Window], on_found: OnFound) -> list[Hypothesis]:
        begun = time.monotonic()
        found = self.model.decode(windows, on_found)
        self._costs.record(windows, found, time.monotonic() - begun)
        return found

    def _probe(self, frames: int) -> Window:
        """Silence of a length that is decoded to as many tokens as speech."""
        options = DecodingOptions(
            language="en",
            max_tokens=round(frames * TOKENS_PER_FRAME),
            without_timestamps=True,
            suppress_tokens=(self.model.tokenizer.eot,),
        )
        return Window(np.zeros(frames * HOP_LENGTH, np.int16), frames, options, encoder_frames=frames)


def silent_window() -> Window:
    """30 s of silence that a warm-up decodes."""
    options = DecodingOptions(language="en", max_tokens=8, word_timestamps=True, suppress_blank=False)
    return Window(np.zeros(WINDOW_SAMPLES, dtype=np.int16), WINDOW_FRAMES, options)
