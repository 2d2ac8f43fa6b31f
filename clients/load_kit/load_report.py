"""Outcomes → figures, and figures → text or JSON; pure functions."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from load_kit.load import LoadRun, Outcome

SCHEMA_VERSION = 2  # of the JSON; raised when a field changes its meaning or goes
PERCENTILES = {"p50": 50.0, "p90": 90.0, "p95": 95.0, "p99": 99.0, "p99.9": 99.9}
LATE_S = 0.1  # an open-loop request sent this much after its time was held up by the client itself


@dataclass(frozen=True, slots=True)
class LatencyFigures:
    """Seconds, over `count` requests; every figure but the mean is one that was measured."""

    count: int
    mean: float
    min: float
    max: float
    percentiles: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class LoadReport:
    wall_s: float
    requests: int
    succeeded: int
    failures: Mapping[str, int]  # type → requests
    retries: Mapping[str, int]  # cause → tries repeated for it
    retried_requests: int
    latency: LatencyFigures | None  # of requests that succeeded
    latency_by_group: Mapping[str, LatencyFigures]  # of requests that succeeded, by the clips' groups
    latency_by_model: Mapping[str, LatencyFigures]  # likewise, by the model that the server says answered
    latency_all: LatencyFigures | None  # failed ones too: a timeout must not drop out of the tail unseen
    send_delay: LatencyFigures | None  # from due to sent
    late_requests: int
    audio_s: float | None  # transcribed; None where the length of some clip is not known
    unknown_lengths: int
    rtfx: float | None  # seconds of audio transcribed per second of wall time
    requests_per_s: float | None  # that succeeded
    interrupted: bool


def percentile(ordered: Sequence[float], percent: float) -> float:
    """The smallest value that at least `percent` % of `ordered` do not exceed (nearest rank, a measured one).

    `ordered` is ascending and not empty; `percent` lies in (0, 100].
    """
    if not ordered or not 0 < percent <= 100:
        raise ValueError(f"percentile {percent} of {len(ordered)} values")
    # rounded: 99.9 % of 1000 is 999.0000000000001 in floats, and a rank must not slip by that
    rank = math.ceil(round(percent * len(ordered) / 100, 9))
    return ordered[max(rank, 1) - 1]


def latency_figures(seconds: Iterable[float]) -> LatencyFigures | None:
    """The figures, None for no values."""
    ordered = sorted(seconds)
    if not ordered:
        return None
    return LatencyFigures(
        count=len(ordered),
        mean=math.fsum(ordered) / len(ordered),
        min=ordered[0],
        max=ordered[-1],
        percentiles={name: percentile(ordered, percent) for name, percent in PERCENTILES.items()},
    )


def make_report(run: LoadRun) -> LoadReport:
    """The figures of a run."""
    good = [outcome for outcome in run.outcomes if outcome.failure is None]
    lengths = [outcome.audio_s for outcome in good if outcome.audio_s is not None]
    audio_s = math.fsum(lengths) if len(lengths) == len(good) else None
    return LoadReport(
        wall_s=run.wall_s,
        requests=len(run.outcomes),
        succeeded=len(good),
        failures=_counts(outcome.failure for outcome in run.outcomes if outcome.failure is not None),
        retries=_counts(cause for outcome in run.outcomes for cause in outcome.causes),
        retried_requests=sum(bool(outcome.causes) for outcome in run.outcomes),
        latency=latency_figures(outcome.latency_s for outcome in good),
        latency_by_group=by_key(good, lambda outcome: outcome.group),
        latency_by_model=by_key(good, lambda outcome: outcome.model or ""),
        latency_all=latency_figures(outcome.latency_s for outcome in run.outcomes),
        send_delay=latency_figures(outcome.sent_s - outcome.due_s for outcome in run.outcomes),
        late_requests=sum(outcome.sent_s - outcome.due_s > LATE_S for outcome in run.outcomes),
        audio_s=audio_s,
        unknown_lengths=len(good) - len(lengths),
        rtfx=audio_s / run.wall_s if audio_s is not None and run.wall_s > 0 else None,
        requests_per_s=len(good) / run.wall_s if run.wall_s > 0 else None,
        interrupted=run.interrupted,
    )


def report_text(report: LoadReport) -> str:
    """The figures as lines for a person."""
    lines = [
        ("requests", f"{report.requests} in {report.wall_s:.2f} s, {report.succeeded} succeeded"),
        ("failures", _tally(report.failures)),
        ("retries", _tally(report.retries) + _in_requests(report.retried_requests)),
        ("latency", latency_line(report.latency)),
    ]
    lines += [(f"  {group}", latency_line(figures)) for group, figures in report.latency_by_group.items()]
    if report.failures:
        lines.append(("  with failures", latency_line(report.latency_all)))
    if report.requests_per_s is not None:
        lines.append(("throughput", f"{report.requests_per_s:.2f} requests/s"))
    if report.unknown_lengths:
        lines.append(("audio", f"length not known for {report.unknown_lengths} requests, so no RTFx"))
    elif report.audio_s is not None and report.rtfx is not None:
        lines.append(
            ("audio", f"{report.audio_s:.1f} s, RTFx {report.rtfx:.2f} (seconds of audio per second)")
        )
    if report.late_requests and report.send_delay is not None:
        lines.append(
            (
                "held up",
                f"{report.late_requests} requests left this machine more than {LATE_S:g} s late (at most"
                f" {report.send_delay.max:.2f} s; their latency counts from when they were due)",
            )
        )
    if report.interrupted:
        lines.append(("stopped", "by Ctrl-C; requests still under way are not counted"))
    return "\n".join(f"{name:<16}{value}" for name, value in lines)


def levels_table(axis: str, reports: Sequence[tuple[float, LoadReport]]) -> str:
    """A sweep as a table for a person, a line for each level."""
    heads = (axis, "requests", "failed", "retried", "requests/s", "RTFx", *PERCENTILES)
    rows = [heads]
    for level, report in reports:
        figures = (report.latency.percentiles if report.latency else {}).values()
        rows.append(
            (
                f"{level:g}",
                str(report.requests),
                str(report.requests - report.succeeded),
                str(report.retried_requests),
                "-" if report.requests_per_s is None else f"{report.requests_per_s:.2f}",
                "-" if report.rtfx is None else f"{report.rtfx:.2f}",
                *([f"{seconds:.3f}" for seconds in figures] or ["-"] * len(PERCENTILES)),
            )
        )
    return aligned(rows)


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Rows of a table in columns: the first to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.rjust(width) if place else cell.ljust(width)
                  for place, (cell, width) in enumerate(zip(row, widths, strict=True)))
        for row in rows
    )  # fmt: skip


def level_document(level: float, report: LoadReport, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """One level of the JSON document: its `figures`, and every request in `outcomes`."""
    figures = asdict(report)
    for name in ("latency", "latency_all", "send_delay"):
        figures[f"{name}_s"] = _flat(figures.pop(name))
    for name in ("latency_by_group", "latency_by_model"):
        groups = figures.pop(name)
        figures[f"{name}_s"] = {group: _flat(latency) for group, latency in groups.items()}
    rows = [{**asdict(outcome), "latency_s": outcome.latency_s} for outcome in outcomes]
    return {"level": level, "figures": figures, "outcomes": rows}


def _flat(latency: dict[str, Any] | None) -> dict[str, Any] | None:
    return latency and {**latency.pop("percentiles"), **latency}


def by_key(outcomes: Iterable[Outcome], key_of: Callable[[Outcome], str]) -> dict[str, LatencyFigures]:
    """The latency of the outcomes with the same key; those with an empty one are left out."""
    groups: dict[str, list[float]] = {}
    for outcome in outcomes:
        if key := key_of(outcome):
            groups.setdefault(key, []).append(outcome.latency_s)
    found = {group: latency_figures(seconds) for group, seconds in sorted(groups.items())}
    return {group: figures for group, figures in found.items() if figures is not None}


def _counts(names: Iterable[str]) -> dict[str, int]:
    """Name → how often, most frequent first."""
    return dict(sorted(Counter(names).items(), key=lambda item: (-item[1], item[0])))


def _tally(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items()) or "none"


def _in_requests(count: int) -> str:
    return f" (in {count} requests)" if count else ""


def latency_line(figures: LatencyFigures | None) -> str:
    """The figures in one line."""
    if figures is None:
        return "none measured"
    parts = [f"{name} {value:.3f}" for name, value in figures.percentiles.items()]
    return f"{'  '.join(parts)}  max {figures.max:.3f}  mean {figures.mean:.3f} s"
