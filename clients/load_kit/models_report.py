"""Which model answered which file, for a person; nothing where one model answered all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from load_kit.load import Outcome
from load_kit.load_report import by_key, latency_line

SHOWN_FILES = 20  # of one model; the --json file has all


def models_text(outcomes: Sequence[Outcome]) -> str:
    """Lines with each model's requests, latency and files; empty where fewer than two models answered."""
    good = [outcome for outcome in outcomes if outcome.failure is None]
    figures = by_key(good, lambda outcome: outcome.model or "")
    if len(figures) < 2:
        return ""
    lines = []
    for model, latency in figures.items():
        count = f"{latency.count} request{'s' if latency.count > 1 else ''}"
        lines.append(f"{'answered by':<16}{model}: {count}, latency {latency_line(latency)}")
        files = sorted({Path(outcome.path).name for outcome in good if outcome.model == model})
        more = f" and {len(files) - SHOWN_FILES} more" if len(files) > SHOWN_FILES else ""
        lines.append(f"{'':<16}{', '.join(files[:SHOWN_FILES])}{more}")
    return "\n".join(lines)
