"""Checkpoints of a server's memory over a run, and whether each process stayed flat."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from load_kit.soak.processes import Process

WARM_UP_SHARE = 0.25  # of a process's life, left out: caches and allocators fill up …
WARM_UP_S = 60.0  # … and at least this long: a worker started on a busy machine takes half a minute to load
MIN_LIFE_SHARE = 0.25  # of the run: a shorter life is too short to judge
MIN_CHECKPOINTS = 10  # after the warm-up
FLAT_GROWTH = 0.05
JUDGED_ROLES = ("worker", "gateway", "media")  # Java grows to its -Xmx by design, children come and go


@dataclass(slots=True)
class Series:
    """One process's resident memory over the run."""

    pid: int
    role: str
    seconds: list[float] = field(default_factory=list)
    rss_mib: list[float] = field(default_factory=list)

    @property
    def label(self) -> str:
        return f"{self.role} {self.pid}"

    def growth(self) -> float | None:
        """Relative growth from the end of the warm-up to the last checkpoint, by a fitted line.

        None for too few checkpoints. A line through all of them, not the last less the first: the memory of
        a worker swings with the batch that it is at.
        """
        life = self.seconds[-1] - self.seconds[0]
        begin = self.seconds[0] + max(WARM_UP_SHARE * life, WARM_UP_S)
        kept = [
            (moment, rss) for moment, rss in zip(self.seconds, self.rss_mib, strict=True) if moment >= begin
        ]
        if len(kept) < MIN_CHECKPOINTS:
            return None
        fit = statistics.linear_regression(*zip(*kept, strict=True))
        at_begin = fit.intercept + fit.slope * kept[0][0]
        return fit.slope * (kept[-1][0] - kept[0][0]) / at_begin if at_begin > 0 else None


@dataclass(frozen=True, slots=True)
class MemoryVerdict:
    """What became of one process's memory; `flat` is None where it was not judged, and `why` says so."""

    series: Series
    growth: float | None
    flat: bool | None
    why: str = ""


class Checkpoints:
    """The series of every process seen."""

    def __init__(self) -> None:
        self.by_pid: dict[int, Series] = {}

    def add(self, moment_s: float, found: Iterable[Process]) -> None:
        for process in found:
            series = self.by_pid.setdefault(process.pid, Series(process.pid, process.role))
            series.role = process.role  # a fork becomes what it executes
            series.seconds.append(moment_s)
            series.rss_mib.append(process.rss_mib)

    def verdicts(self, run_s: float) -> list[MemoryVerdict]:
        return [verdict_of(series, run_s) for series in self.by_pid.values() if len(series.seconds) > 1]


def verdict_of(series: Series, run_s: float) -> MemoryVerdict:
    """Whether the process stayed flat within FLAT_GROWTH."""
    growth = series.growth()
    if series.role not in JUDGED_ROLES:
        return MemoryVerdict(series, growth, None, "shown only")
    if growth is None or series.seconds[-1] - series.seconds[0] < MIN_LIFE_SHARE * run_s:
        return MemoryVerdict(series, growth, None, "lived too shortly to judge")
    return MemoryVerdict(series, growth, growth <= FLAT_GROWTH)


def all_flat(verdicts: Sequence[MemoryVerdict]) -> bool | None:
    """Whether every judged process stayed flat; None where none was judged."""
    judged = [verdict.flat for verdict in verdicts if verdict.flat is not None]
    return all(judged) if judged else None
