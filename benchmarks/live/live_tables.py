"""All runs so far → the tables of docs/live.md."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import report
from benchmarks.machine import conditions_text

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "live.md"
Run = dict[str, Any]

WORDS = ("model", "streams", "files", "turns", "words", "turns unlike the upload", "WER final", "WER upload",
         "WER deltas", "replaced", "settled before commit")  # fmt: skip
WAITS = ("model", "streams", "files", "first word p50 s", "words p50 s", "final p50 s", "final p95 s",
         "upload p50 s", "gateway ms per s", "workers' s per s")  # fmt: skip


def section(runs: Sequence[Run]) -> str:
    """Markdown: words, waits, and under which conditions each was measured."""
    lines = [f"- {_name(run)}: {conditions_text(run['conditions'])}" for run in runs]
    return "\n\n".join(
        [
            "**Words.** Settled before commit: of the words of turns of 5 s and more.",
            report.table(WORDS, [_words(run) for run in runs]),
            "**Waits.** First word: from its end to the first delta of its turn. Final: from the end of the "
            "silence that ends the turn. Upload: the same turns over the HTTP door, one at a time. Costs are "
            "processor time per second of one stream's sound.",
            report.table(WAITS, [_waits(run) for run in runs]),
            "\n".join(lines),
        ]
    )


def _name(run: Run) -> str:
    streams = f"{run['streams']} stream{'s' * (run['streams'] > 1)}"
    return f"{_model(run)}, {streams}" + (f", {run['files']} files" if run["files"] else "")


def _model(run: Run) -> str:
    size, delay = run.get("batch_size", 0), run["delay"]
    parts = [run["model"], f"batches of {size}" if size else "", f"delay {delay}" if delay != "low" else ""]
    return ", ".join(filter(None, parts))


def _words(run: Run) -> list[object]:
    rates = [f"{100 * run[name]:.1f} %" for name in ("final_wer", "upload_wer", "shown_wer")]
    share = f"{100 * run['settled_share']:.0f} % of {run['long_turns']} turns"
    counts = (run["turns"], run["words"], run["different"])
    return [_model(run), run["streams"], run["files"], *counts, *rates, run["replaced"], share]


def _waits(run: Run) -> list[object]:
    waits = [run["first_word_s"]["p50"], run["each_word_s"]["p50"], *_final(run), run["upload_s"]["p50"]]
    costs = f"{run['gateway_ms_per_s']:.0f}", f"{run['workers_s_per_s']:.2f}"
    return [_model(run), run["streams"], run["files"], *(_seconds(wait) for wait in waits), *costs]


def _seconds(wait: float) -> str:
    return "–" if math.isnan(wait) else f"{wait:.2f}"


def _final(run: Run) -> tuple[float, float]:
    return run["final_s"]["p50"], run["final_s"]["p95"]
