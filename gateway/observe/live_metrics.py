"""Prometheus metrics of streams, and what one stream writes into its log line."""

from __future__ import annotations

from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

PREFIX = "whisper_gateway_live"
SECONDS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.8, 1, 1.5, 2, 3, 5, 10, 30, 60)


class LiveMetrics:
    """Counts what happens on streams."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.streams = Gauge(f"{PREFIX}_streams", "Streams open now.", registry=registry)
        self.waiting_s = Gauge(
            f"{PREFIX}_waiting_audio_seconds", "Committed audio without a transcript.", registry=registry
        )
        self.audio_s = Counter(
            f"{PREFIX}_audio_seconds", "Audio received on streams.", ["caller"], registry=registry
        )
        self.turns = Counter(f"{PREFIX}_turns", "Committed turns by outcome.", ["outcome"], registry=registry)
        self.partials = Counter(
            f"{PREFIX}_partials",
            "Looks at open turns: decoded, or skipped for want of room.",
            ["outcome"],
            registry=registry,
        )
        self.first_partial_s = Histogram(
            f"{PREFIX}_first_partial_seconds",
            "From the start of a turn's speech, as heard, to its first text.",
            registry=registry,
            buckets=SECONDS,
        )
        self.final_s = Histogram(
            f"{PREFIX}_final_seconds", "From a commit to its transcript.", registry=registry, buckets=SECONDS
        )


@dataclass(slots=True)
class StreamRecord:
    """One stream as it is logged."""

    metrics: LiveMetrics
    caller: str
    model: str = ""  # of the turns that come
    audio_s: float = 0.0
    turns: int = 0
    failed: int = 0
    partials: int = 0
    skipped: int = 0
    violations: int = 0
    close_code: int | None = None

    def hear(self, seconds: float) -> None:
        self.audio_s += seconds
        self.metrics.audio_s.labels(self.caller).inc(seconds)

    def end_partials(self, num_decoded: int, num_skipped: int) -> None:
        self.partials += num_decoded
        self.skipped += num_skipped
        self.metrics.partials.labels("decoded").inc(num_decoded)
        self.metrics.partials.labels("skipped").inc(num_skipped)

    def end_turn(self, seconds: float, error_code: str | None) -> None:
        """seconds: from the commit."""
        self.turns += 1
        self.failed += error_code is not None
        self.metrics.turns.labels(error_code or "ok").inc()
        if error_code is None:
            self.metrics.final_s.observe(seconds)

    @property
    def fields(self) -> dict[str, object]:
        return {
            "caller": self.caller,
            "model": self.model,
            "audio_s": round(self.audio_s, 3),
            "turns": self.turns,
            "failed": self.failed,
            "partials": self.partials,
            "partials_skipped": self.skipped,
            "violations": self.violations,
            "close_code": self.close_code,
        }
