"""The metrics that config/metrics.yaml declares, fed through TorchServe.

Each sample travels as a line on the worker's standard output, `name.unit:value|#label:value`. So a label
value must not be empty or hold `:`, `,` or `|`, and a value must be a plain decimal: `1e-05` and `nan` are
silently dropped (ts/metrics/caching_metric.py, the frontend's Metric.java).
"""

from __future__ import annotations

import math
import re
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, Protocol

from adapter.records import RequestRecord
from adapter.rss import device_memory_bytes, gpu_memory, host_memory_bytes
from asr.languages import LANGUAGES
from asr.sessions.driver import Batch
from asr.text.guards import COMPRESSION, LOGPROB

UNSAFE_IN_LABEL = re.compile(r"[^A-Za-z0-9_.\-]")
MAX_LABEL_CHARS = 40
SOCKET_OPTIONS = ("--sock-name", "--port")  # of TorchServe's worker process; both end in the worker's number

STAGES = ("media", "vad", "features", "encode", "decode", "words", "render")
COUNTED_KINDS = ("file", "windows", "unread")

COUNTERS = (
    "whisper_requests_total",  # kind, outcome, language
    "whisper_audio_seconds_total",  # outcome
    "whisper_windows_total",
    "whisper_silent_windows_total",
    "whisper_fallbacks_total",  # reason
    "whisper_batches_total",
    "whisper_oom_total",
    "whisper_stage_seconds_total",  # stage
)
GAUGES = (
    "whisper_windows_outstanding",  # worker
    "whisper_worker_memory_bytes",  # worker, memory
    "whisper_worker_start_seconds",  # worker
    "whisper_device_memory_bytes",  # device, memory
)
HISTOGRAMS = (
    "whisper_request_seconds",  # kind
    "whisper_rtf",
    "whisper_queue_wait_seconds",
    "whisper_first_segment_seconds",
    "whisper_batch_fill_ratio",  # of
)
# Counters that are sent as zero at the start, so that alerts see the first out-of-memory as a rise.
FROM_THE_START: tuple[tuple[str, ...], ...] = (
    ("whisper_audio_seconds_total", "ok"),
    ("whisper_windows_total",),
    ("whisper_silent_windows_total",),
    ("whisper_fallbacks_total", COMPRESSION),
    ("whisper_fallbacks_total", LOGPROB),
    ("whisper_batches_total",),
    ("whisper_oom_total",),
    *(("whisper_stage_seconds_total", stage) for stage in STAGES),
)


class Metric(Protocol):
    """TorchServe's metric object."""

    def add_or_update(self, value: int | float, dimension_values: list[str]) -> None: ...


class ServiceMetrics:
    """Counts finished requests. Counters go out summed, a sample per label set and batch, not per row."""

    def __init__(self, get_metric: Callable[[str, str], Any], *, worker: str, max_rows: int) -> None:
        """`get_metric(name, kind)` returns the declared metric; kind is "counter", "gauge" or "histogram".

        worker: the label of its gauges; max_rows: the size of TorchServe's batches.
        """
        kinds = {"counter": COUNTERS, "gauge": GAUGES, "histogram": HISTOGRAMS}
        self._metrics: dict[str, Metric] = {
            name: get_metric(name, kind) for kind, names in kinds.items() for name in names
        }
        self._worker = label(worker)
        self._max_rows = max_rows
        self._batches: list[Batch] = []  # since the last publish
        self._seen_ooms = 0

    def started(self) -> None:
        """Sends the start time, and zero for the counters that must be there before their first event."""
        for name, *labels in FROM_THE_START:
            self._send(name, 0, *labels)
        self._send("whisper_worker_start_seconds", int(time.time()), self._worker)
        self._send("whisper_windows_outstanding", 0, self._worker)  # a killed worker's died with it
        self._send_memory()

    def batch(self, batch: Batch) -> None:
        """A batch goes to the engine."""
        self._batches.append(batch)
        self._send("whisper_windows_outstanding", batch.outstanding, self._worker)

    def publish(self, records: Sequence[RequestRecord], oom_count: int) -> None:
        """Adds one batch's records; `oom_count` is the engine's count since it was loaded."""
        for (name, *labels), value in self._totals(records, oom_count).items():
            if value > 0:
                self._send(name, value, *labels)
        for record in records:
            if record.kind in COUNTED_KINDS:
                self._observe(record)
        self._send("whisper_batch_fill_ratio", len(records) / self._max_rows, "rows")
        for batch in self._batches:
            self._send("whisper_batch_fill_ratio", batch.windows / batch.room, "windows")
        if self._batches:
            self._send("whisper_windows_outstanding", 0, self._worker)
        self._batches.clear()
        self._send_memory()

    def _totals(self, records: Sequence[RequestRecord], oom_count: int) -> dict[tuple[str, ...], float]:
        """(counter, labels …) → what this batch adds to it."""
        totals: defaultdict[tuple[str, ...], float] = defaultdict(float)
        totals["whisper_batches_total",] = len(self._batches)
        totals["whisper_oom_total",] = oom_count - self._seen_ooms
        self._seen_ooms = oom_count
        for record in records:
            if record.kind not in COUNTED_KINDS:
                continue
            outcome = label(record.error_code or "ok")
            totals["whisper_requests_total", record.kind, outcome, language_label(record.language)] += 1
            totals["whisper_audio_seconds_total", outcome] += record.audio_s
            totals["whisper_windows_total",] += record.windows
            totals["whisper_silent_windows_total",] += record.silent_windows
            for reason, count in record.fallbacks:
                totals["whisper_fallbacks_total", label(reason)] += count
            for stage, seconds in record.stage_seconds:
                totals["whisper_stage_seconds_total", label(stage)] += seconds
        return totals

    def _observe(self, record: RequestRecord) -> None:
        self._send("whisper_request_seconds", record.wall_s, record.kind)
        if record.queue_s is not None:
            self._send("whisper_queue_wait_seconds", record.queue_s)
        if record.first_segment_s is not None:
            self._send("whisper_first_segment_seconds", record.first_segment_s)
        if record.kind == "file" and record.error_code is None and record.rtf is not None:
            self._send("whisper_rtf", record.rtf)

    def _send_memory(self) -> None:
        for memory, size in (("host", host_memory_bytes()), ("device", device_memory_bytes())):
            if size is not None:
                self._send("whisper_worker_memory_bytes", size, self._worker, memory)
        for device, (used, total) in gpu_memory().items():
            self._send("whisper_device_memory_bytes", used, str(device), "used")
            self._send("whisper_device_memory_bytes", total, str(device), "total")

    def _send(self, name: str, value: float, *labels: str) -> None:
        value = round(value, 4)  # down to 0.0001 a float prints as a plain decimal
        if math.isfinite(value) and value >= 0:
            self._metrics[name].add_or_update(value, list(labels))


def label(text: str) -> str:
    """`text` as a label value that TorchServe's metric line can carry; "unknown" for an empty one."""
    return UNSAFE_IN_LABEL.sub("_", text)[:MAX_LABEL_CHARS] or "unknown"


def language_label(language: str | None) -> str:
    """The language as one of a bounded set of labels: one of Whisper's, "none" or "other"."""
    if language is None:
        return "none"
    return language if language in LANGUAGES else "other"


def worker_name(argv: Sequence[str]) -> str:
    """The number at the end of the worker's socket option, the same after a restart; "0" without one."""
    for option, value in pairwise(argv):
        if option in SOCKET_OPTIONS and (number := re.search(r"\d+$", value)):
            return number[0]
    return "0"
