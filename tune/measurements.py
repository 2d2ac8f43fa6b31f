"""What a measurement brings, between the child that measures and the parent that decides."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tune.configurations import Configuration
from tune.recordings import Words


@dataclass(frozen=True, slots=True)
class Sample:
    """One configuration, measured once in a process of its own."""

    audio_s: float  # of all recordings, transcribed side by side
    wall_s: float  # for that
    cpu_s: float  # of the process meanwhile
    others_s: float  # processor seconds of everybody else meanwhile, on the same cores
    cores: int
    clip_audio_s: float  # of the recording that is transcribed alone
    clip_s: float  # for that, the median of a few times
    load_s: float
    peak_bytes: int  # largest resident memory
    texts: dict[str, str] = field(default_factory=dict)

    @property
    def throughput(self) -> float:
        """Seconds of audio per second, side by side."""
        return self.audio_s / self.wall_s

    @property
    def speed(self) -> float:
        """What is compared: throughput and the speed of one clip alone count the same (geometric mean)."""
        return math.sqrt(self.throughput * self.clip_audio_s / self.clip_s)

    @property
    def parallelism(self) -> float:
        """Cores at work on average."""
        return self.cpu_s / self.wall_s

    @property
    def others_share(self) -> float:
        """Of the cores' time, the part that went to somebody else."""
        return max(0.0, self.others_s) / (self.wall_s * self.cores)


@dataclass(frozen=True, slots=True)
class Failure:
    """A configuration that could not be measured."""

    reason: str


@dataclass(frozen=True, slots=True)
class Spread:
    """A figure over the rounds."""

    median: float
    low: float
    high: float
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(statistics.median(values), min(values), max(values), len(values))


@dataclass(slots=True)
class Cell:
    """A configuration and what is known of it."""

    configuration: Configuration
    samples: list[Sample] = field(default_factory=list)
    words: Words | None = None
    loses: str = ""  # why it is out
    is_disturbed: bool = False  # somebody else worked during a sample, again and again
    is_today: bool = False  # `backend: auto` takes it without a file

    @property
    def verdict(self) -> str:
        """Why it is out, or that it is not, in words for a reader."""
        return (self.loses or "the winner") + ("; what auto takes without this file" if self.is_today else "")

    @property
    def speed(self) -> Spread:
        return Spread.of([sample.speed for sample in self.samples])

    @property
    def throughput(self) -> Spread:
        return Spread.of([sample.throughput for sample in self.samples])

    @property
    def clip_s(self) -> Spread:
        return Spread.of([sample.clip_s for sample in self.samples])

    @property
    def peak_bytes(self) -> int:
        return max(sample.peak_bytes for sample in self.samples)

    def as_table(self) -> dict[str, Any]:
        """For the file: plain values, rounded."""
        found: dict[str, Any] = {"configuration": str(self.configuration), "rounds": len(self.samples)}
        if self.samples:
            for name, spread, digits in (
                ("throughput", self.throughput, 1),
                ("clip_s", self.clip_s, 3),
            ):
                found[name] = [round(value, digits) for value in (spread.median, spread.low, spread.high)]
            found["peak_mib"] = round(self.peak_bytes / 2**20)
        if self.words is not None:
            found["wrong_words"] = self.words.wrong
            if self.words.changed:
                found["changed_words"] = list(self.words.changed)
        if self.is_disturbed:
            found["disturbed"] = True
        return {**found, "verdict": self.verdict}
