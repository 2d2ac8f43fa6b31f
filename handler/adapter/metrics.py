"""The metrics that config/metrics.yaml declares, fed through TorchServe.

TorchServe's transport is a line on the worker's standard output per sample, `name.unit:value|#label:value`,
so a label value must not be empty or hold `:`, `,` or `|`, and a value must be a plain decimal: `1e-05` and
`nan` are dropped silently (ts/metrics/caching_metric.py, frontend's Metric.java).
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Callable
from typing import Any, Protocol

from adapter.records import RequestRecord

UNSAFE_IN_LABEL = re.compile(r"[^A-Za-z0-9_.\-]")
MAX_LABEL_CHARS = 40

COUNTERS = (
    "whisper_requests_total",  # outcome, language
    "whisper_audio_seconds_total",
    "whisper_windows_total",
    "whisper_fallbacks_total",  # reason
    "whisper_oom_total",
    "whisper_stage_seconds_total",  # stage
)
RTF_HISTOGRAM = "whisper_rtf"


class Metric(Protocol):
    """TorchServe's metric object."""

    def add_or_update(self, value: int | float, dimension_values: list[str]) -> None: ...


class ServiceMetrics:
    """Counts finished requests. One sample per metric and label set goes out for each batch, not per row."""

    def __init__(self, get_metric: Callable[[str, str], Any]) -> None:
        """`get_metric(name, kind)` returns the declared metric; kind is "counter" or "histogram"."""
        self._counters: dict[str, Metric] = {name: get_metric(name, "counter") for name in COUNTERS}
        self._rtf: Metric = get_metric(RTF_HISTOGRAM, "histogram")
        self._seen_ooms = 0

    def publish(self, records: list[RequestRecord], oom_count: int) -> None:
        """Adds one batch's records; `oom_count` is the engine's count since it was loaded."""
        totals: defaultdict[tuple[str, tuple[str, ...]], float] = defaultdict(float)
        for record in records:
            if record.kind not in ("file", "windows"):
                continue
            outcome = record.error_code or "ok"
            totals["whisper_requests_total", (label(outcome), label(record.language or "none"))] += 1
            if record.error_code is None:
                totals["whisper_audio_seconds_total", ()] += record.audio_s
            totals["whisper_windows_total", ()] += record.windows
            for reason, count in record.fallbacks:
                totals["whisper_fallbacks_total", (label(reason),)] += count
            for stage, seconds in (("queue", record.queue_s or 0.0), *record.stage_seconds):
                totals["whisper_stage_seconds_total", (label(stage),)] += seconds
        totals["whisper_oom_total", ()] += oom_count - self._seen_ooms
        self._seen_ooms = oom_count
        for (name, labels), value in totals.items():
            self._add(self._counters[name], value, list(labels))
        for record in records:
            if record.kind == "file" and record.rtf is not None:
                self._add(self._rtf, record.rtf, [])

    @staticmethod
    def _add(metric: Metric, value: float, labels: list[str]) -> None:
        value = round(value, 4)  # down to 0.0001 a float prints as a plain decimal
        if math.isfinite(value) and value > 0:
            metric.add_or_update(value, labels)


def label(text: str) -> str:
    """`text` as a label value that TorchServe's metric line can carry; "unknown" for an empty one."""
    return UNSAFE_IN_LABEL.sub("_", text)[:MAX_LABEL_CHARS] or "unknown"
