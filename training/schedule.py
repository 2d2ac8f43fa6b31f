"""What the wall clock decides: the curriculum's stage and the learning rate."""

from __future__ import annotations

import time
from dataclasses import dataclass

WARMUP_STEPS = 200
DECAY_FROM = 0.6  # share of the cycle's time


@dataclass(frozen=True, slots=True)
class Stage:
    """Shares are probabilities; lengths and batch sizes are seconds of audio."""

    until: float  # share of the cycle's time
    short_lengths_s: tuple[float, ...]
    full: float  # batches of 30 s windows
    batch_s: float
    timestamps: float
    prompts: float
    silent: float
    shifted: float  # short batches at a random place of the encoder's positions
    augment: float
    far: float  # espeak-ng variants that are learnt later


STAGES = (
    Stage(0.10, (3.0, 4.0, 5.0), 0.0, 80, 0.1, 0.0, 0.02, 0.1, 0.0, 0.6),
    Stage(0.71, (3.0, 4.0, 5.0), 0.0, 80, 0.3, 0.05, 0.03, 0.0, 0.0, 0.6),
    Stage(0.85, (4.0, 6.0, 10.0, 15.0), 0.20, 100, 0.4, 0.2, 0.06, 0.0, 0.05, 0.1),
    Stage(1.00, (4.0, 8.0, 15.0), 0.6, 140, 0.5, 0.35, 0.08, 0.0, 0.25, 0.2),
)


LATER_STAGES = (
    Stage(0.12, (3.0, 4.0, 6.0), 0.25, 100, 0.4, 0.1, 0.05, 0.0, 0.2, 0.6),
    Stage(0.75, (4.0, 8.0, 15.0), 0.5, 120, 0.5, 0.25, 0.07, 0.0, 0.35, 0.6),
    Stage(1.00, (4.0, 8.0, 15.0), 0.6, 140, 0.5, 0.35, 0.08, 0.0, 0.35, 0.6),
)


@dataclass(frozen=True, slots=True)
class Schedule:
    """Of cycle `cycle`, `spent_s` happened before `started_at`; it ends at `ends_at` (Unix times)."""

    cycle: int
    spent_s: float
    started_at: float
    ends_at: float

    def progress(self) -> float:
        """Share of the cycle that is over, 0 to 1."""
        whole = self.spent_s + self.ends_at - self.started_at
        return min(1.0, (self.spent_s + time.time() - self.started_at) / whole)

    def stage(self) -> Stage:
        progress = self.progress()
        stages = LATER_STAGES if self.cycle else STAGES
        return next(stage for stage in stages if progress <= stage.until)

    def learning_rate(self, step: int, peak: float) -> float:
        """Warm-up by steps, then constant, then a square-root decay to 1 % at the end."""
        rate = peak * min(1.0, (step + 1) / WARMUP_STEPS)
        if (progress := self.progress()) > DECAY_FROM:
            rate *= max(0.01, 1 - ((progress - DECAY_FROM) / (1 - DECAY_FROM)) ** 0.5)
        return rate
