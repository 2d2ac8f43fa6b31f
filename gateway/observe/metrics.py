"""Prometheus metrics of one gateway process.

Every label has few values: routes are templates, callers are names of keys, models those that are served, and
no text that a client chooses freely is a label.
"""

from __future__ import annotations

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.exposition import generate_latest

from asr.text.guards import COMPRESSION, LOGPROB
from gateway.observe.job_metrics import JobMetrics
from gateway.observe.live_metrics import LiveMetrics
from gateway.observe.record import RequestRecord
from gateway.observe.webhook_metrics import WebhookMetrics

PREFIX = "whisper_gateway"
NOBODY = "none"  # the caller of a request without a valid key
NO_MODEL = "none"  # of a request that reached none
SWITCHING_PROTOCOLS = 101
REJECTIONS = frozenset({401, 408, 413, 415, 429, 431, 503, 504})

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)


class Metrics:
    """Counts what happens to requests. `gateway.observe.stats` adds the numbers that the parts keep."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # unused timestamps
        self.registry = CollectorRegistry()
        ProcessCollector(namespace=PREFIX, registry=self.registry)
        self.requests = self._counter("requests", "Requests answered.", "route", "status", "caller", "model")
        self.request_seconds = self._histogram(
            "request_seconds", "From the first header to the end.", "route", "model"
        )
        self.first_event_seconds = self._histogram("first_event_seconds", "Until a stream's first event.")
        self.stage_seconds = self._histogram("stage_seconds", "Time of a request's stages.", "stage")
        self.audio_seconds = self._counter("audio_seconds", "Audio of finished requests.", "caller", "model")
        self.windows = self._counter("windows", "Windows of finished requests.", "model")
        self.silent_windows = self._counter("silent_windows", "Those dropped by the no-speech guard.")
        self.fallbacks = self._counter("fallbacks", "Those rejected and tried again.", "reason")
        for reason in (COMPRESSION, LOGPROB):
            self.fallbacks.labels(reason)  # start at zero, so that the first one shows as a rise
        self.rejected = self._counter("rejected", "Requests turned away.", "reason")
        self.running = self._gauge("requests_running", "Requests at work now.")
        self.uploads = self._gauge("uploads", "Bodies that are being received now.")
        self.webhooks = WebhookMetrics(self.registry)
        self.live = LiveMetrics(self.registry)
        self.jobs = JobMetrics(self.registry)

    def observe(self, record: RequestRecord) -> None:
        """Counts a finished request."""
        caller = record.caller or NOBODY
        model = record.model or NO_MODEL
        self.requests.labels(record.route, str(record.status), caller, model).inc()
        if record.status != SWITCHING_PROTOCOLS:  # a stream lasts as long as its client likes
            self.request_seconds.labels(record.route, model).observe(record.seconds)
        for name, seconds in record.stages_s.items():
            self.stage_seconds.labels(name).observe(seconds)
        if record.first_event_s is not None:
            self.first_event_seconds.observe(record.first_event_s)
        if record.audio_s is not None and record.status == 200:
            self.audio_seconds.labels(caller, model).inc(record.audio_s)
        if record.windows:
            self.windows.labels(model).inc(record.windows)
        self.silent_windows.inc(record.silent_windows)
        for reason, count in record.fallbacks.items():
            self.fallbacks.labels(reason).inc(count)
        if record.status in REJECTIONS and record.error_code is not None:
            self.refuse(record.error_code)

    def refuse(self, reason: str) -> None:
        """Counts a rejected request; `reason` is an error's code."""
        self.rejected.labels(reason).inc()

    def exposition(self) -> bytes:
        """The text for Prometheus."""
        return generate_latest(self.registry)

    def _counter(self, name: str, what: str, *labels: str) -> Counter:
        return Counter(f"{PREFIX}_{name}", what, labels, registry=self.registry)

    def _gauge(self, name: str, what: str, *labels: str) -> Gauge:
        return Gauge(f"{PREFIX}_{name}", what, labels, registry=self.registry)

    def _histogram(self, name: str, what: str, *labels: str) -> Histogram:
        return Histogram(f"{PREFIX}_{name}", what, labels, registry=self.registry, buckets=SECONDS)
