"""Prometheus metrics of webhooks."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

PREFIX = "whisper_gateway_webhook"
SECONDS = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15)


class WebhookMetrics:
    """Counts what happens to deliveries."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.attempts = Counter(
            f"{PREFIX}_attempts", "Attempts to deliver an event.", ["outcome"], registry=registry
        )
        self.deliveries = Counter(
            f"{PREFIX}_deliveries", "Deliveries that have ended.", ["outcome"], registry=registry
        )
        self.attempt_seconds = Histogram(
            f"{PREFIX}_attempt_seconds",
            "From the receiver's name to its answer.",
            registry=registry,
            buckets=SECONDS,
        )
        self.pending = Gauge(f"{PREFIX}_pending", "Deliveries that have not ended.", registry=registry)
        self.overdue_seconds = Gauge(
            f"{PREFIX}_overdue_seconds", "For how long the next attempt is due.", registry=registry
        )
        for outcome in ("delivered", "failed"):  # start at zero, so that the first one shows as a rise
            self.deliveries.labels(outcome)
        for outcome in ("delivered", "rejected", "unreached"):
            self.attempts.labels(outcome)

    def attempted(self, status_code: int | None, is_delivered: bool, ended: str | None) -> None:
        """Counts an attempt.

        status_code: None without an answer. ended: how the delivery has ended, if it has.
        """
        outcome = "delivered" if is_delivered else "unreached" if status_code is None else "rejected"
        self.attempts.labels(outcome).inc()
        if ended in ("delivered", "failed"):
            self.deliveries.labels(ended).inc()
