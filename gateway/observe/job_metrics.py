"""Prometheus metrics of jobs."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

PREFIX = "whisper_gateway_job"
SECONDS = (0.1, 0.5, 1, 5, 10, 30, 60, 300, 600, 1800, 3600)


class JobMetrics:
    """Counts what happens to batches and their lines in this process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.lines = Counter(f"{PREFIX}_lines", "Answered lines by outcome.", ["outcome"], registry=registry)
        self.line_s = Histogram(
            f"{PREFIX}_line_seconds",
            "From a line's turn to its answer.",
            registry=registry,
            buckets=SECONDS,
        )
        self.audio_s = Counter(
            f"{PREFIX}_audio_seconds", "Audio of answered lines.", ["caller"], registry=registry
        )
        self.at_work = Gauge(f"{PREFIX}_lines_running", "Lines at work now.", registry=registry)
        self.batches = Gauge(
            f"{PREFIX}_batches", "Batches that are not finished, by status.", ["status"], registry=registry
        )
        self.stored_bytes = Gauge(f"{PREFIX}_stored_bytes", "Files of all callers.", registry=registry)
        self.failed_writes = Counter(
            f"{PREFIX}_failed_writes", "Times that the disk or the database took nothing.", registry=registry
        )
        for outcome in ("done", "failed"):  # start at zero, so that the first one shows as a rise
            self.lines.labels(outcome)

    def count_line(self, caller: str, status: str, audio_s: float, seconds: float) -> None:
        """Counts an answered line; `status` is done or failed."""
        self.lines.labels(status).inc()
        self.audio_s.labels(caller).inc(audio_s)
        self.line_s.observe(seconds)
