"""Two result files → a table of differences with a verdict for each figure.

Percentiles get a 95 % interval of their relative change by bootstrap over the requests. It knows the spread
within the two runs, not between runs: for small differences compare several runs.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from load_kit.load_report import PERCENTILES, SCHEMA_VERSION, aligned, percentile
from load_kit.surroundings import model_line
from whisper_client.errors import BadArgument

RESAMPLES = 200
MAX_RESAMPLED = (
    2_000  # requests of a level that are resampled; the interval is then too wide, never too narrow
)
COMPARED = ("p50", "p95", "p99")
BETTER, WORSE, SAME, UNCLEAR = "better", "worse", "same", "unclear"


@dataclass(frozen=True, slots=True)
class Difference:
    """One figure at one level in both runs."""

    level: float
    name: str
    before: float
    after: float
    verdict: str
    interval: tuple[float, float] | None = None  # of the relative change, 95 %

    @property
    def change(self) -> float | None:
        return self.after / self.before - 1 if self.before else None


def read_result(path: Path) -> dict[str, Any]:
    """A result file; raises BadArgument."""
    try:
        document = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise BadArgument(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise BadArgument(f"{path} is no result file: write one with --json") from error
    if not isinstance(document, dict) or document.get("schema_version") != SCHEMA_VERSION:
        raise BadArgument(f"{path} is no result file of schema {SCHEMA_VERSION}: write one with --json")
    return document


def compare(before: Mapping[str, Any], after: Mapping[str, Any], tolerance: float) -> list[Difference]:
    """The differences at the levels that both results have; raises BadArgument where there is none."""
    if before["kind"] != after["kind"]:
        kinds = f"{before['kind']} and {after['kind']}"
        raise BadArgument(f"{kinds} measure different things: compare two of a kind")
    others = {level["level"]: level for level in after["levels"]}
    pairs = [(level, others[level["level"]]) for level in before["levels"] if level["level"] in others]
    if not pairs:
        raise BadArgument("the two results have no level in common")
    return [row for pair in pairs for row in _at_level(*pair, tolerance)]


def compare_text(before: Mapping[str, Any], after: Mapping[str, Any], rows: Sequence[Difference]) -> str:
    """What differs in the circumstances, then the table."""
    table = [("level", "figure", "A", "B", "change", "95 % interval", "verdict")]
    for row in rows:
        change = "-" if row.change is None else f"{row.change:+.1%}"
        interval = f"{row.interval[0]:+.1%} to {row.interval[1]:+.1%}" if row.interval else ""
        table.append(
            (
                f"{row.level:g}",
                row.name,
                f"{row.before:.3f}",
                f"{row.after:.3f}",
                change,
                interval,
                row.verdict,
            )
        )
    notes = [
        f"differs: {name}: {one} → {other}"
        for name, one, other in _circumstances(before, after)
        if one != other
    ]
    return "\n".join([*notes, aligned(table)])


def _circumstances(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    pairs: list[tuple[str, Any, Any]] = [("model", model_line(before["server"]), model_line(after["server"]))]
    pairs += [(key, before[key], after[key]) for key in ("url", "config_sha256")]
    for part in ("settings", "options"):
        keys = dict.fromkeys([*before[part], *after[part]])
        pairs += [(f"{part}: {key}", before[part].get(key), after[part].get(key)) for key in keys]
    here, there = before["client_machine"], after["client_machine"]
    return pairs + [(key, here[key], there[key]) for key in ("cpu", "cpus", "memory_gib", "gpus")]


def _at_level(before: Mapping[str, Any], after: Mapping[str, Any], tolerance: float) -> list[Difference]:
    level, one, other = before["level"], before["figures"], after["figures"]
    rows = []
    for name, key in (("requests/s", "requests_per_s"), ("RTFx", "rtfx")):
        if one[key] and other[key]:
            verdict = verdict_of(other[key] / one[key] - 1, None, tolerance, more_is_better=True)
            rows.append(Difference(level, name, one[key], other[key], verdict))
    if one["latency_s"] and other["latency_s"]:
        intervals = _intervals(_latencies(before), _latencies(after))
        for name in COMPARED:
            was, now, interval = one["latency_s"][name], other["latency_s"][name], intervals[name]
            verdict = verdict_of(now / was - 1, interval, tolerance) if was else UNCLEAR
            rows.append(Difference(level, f"{name} s", was, now, verdict, interval))
    was, now = _failed(one), _failed(other)
    verdict = SAME if was == now else WORSE if now > was else BETTER
    return [*rows, Difference(level, "failed share", was, now, verdict)]


def verdict_of(
    change: float, interval: tuple[float, float] | None, tolerance: float, *, more_is_better: bool = False
) -> str:
    """ "same" within the tolerance, "unclear" where the interval holds no change, else better or worse."""
    if abs(change) <= tolerance:
        return SAME
    if interval and interval[0] <= 0 <= interval[1]:
        return UNCLEAR
    return BETTER if (change > 0) == more_is_better else WORSE


def _intervals(before: list[float], after: list[float]) -> dict[str, tuple[float, float]]:
    """95 % intervals of the percentiles' relative changes."""
    rng = random.Random(0)
    changes: dict[str, list[float]] = {name: [] for name in COMPARED}
    before, after = (rng.sample(side, min(len(side), MAX_RESAMPLED)) for side in (before, after))
    for _ in range(RESAMPLES):
        was, now = (sorted(rng.choices(side, k=len(side))) for side in (before, after))
        for name in COMPARED:
            base = percentile(was, PERCENTILES[name])
            changes[name].append(percentile(now, PERCENTILES[name]) / base - 1 if base else 0.0)
    return {
        name: (percentile(sorted(values), 2.5), percentile(sorted(values), 97.5))
        for name, values in changes.items()
    }


def _latencies(level: Mapping[str, Any]) -> list[float]:
    return [outcome["latency_s"] for outcome in level["outcomes"] if outcome["failure"] is None]


def _failed(figures: Mapping[str, Any]) -> float:
    return 1 - figures["succeeded"] / figures["requests"] if figures["requests"] else 0.0
