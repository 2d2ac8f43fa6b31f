"""The numbers that the parts keep themselves, read when Prometheus asks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from gateway.observe.metrics import PREFIX


class HasStats(Protocol):
    def stats(self) -> Mapping[str, Any]: ...


class Parts(Protocol):
    """The parts of the service that keep numbers."""

    @property
    def fleet(self) -> HasStats: ...
    @property
    def admission(self) -> HasStats: ...
    @property
    def pool(self) -> HasStats: ...


DISPATCHER_GAUGES = {
    "outstanding": ("windows_outstanding", "Windows that are at the upstreams now."),
    "waiting_windows": ("windows_waiting", "Windows that wait for their turn."),
    "waiting_audio_s": ("waiting_audio_seconds", "Audio of the windows that wait for their turn."),
}
DISPATCHER_COUNTERS = {
    "sent": ("windows_sent", "Windows sent, those sent again included."),
    "retries": ("window_retries", "Windows that an upstream was too busy for or that it lost."),
    "resent": ("windows_resent", "Windows sent again because their answer was missed."),
    "deaths": ("worker_deaths", "Workers that went down with windows."),
}
UPSTREAM_GAUGES = {
    "alive": ("upstream_up", "1 while the upstream answers its canary."),
    "workers": ("upstream_workers", "Workers of the upstream."),
    "outstanding": ("upstream_windows_outstanding", "Windows that are at this upstream now."),
}
MODEL_GAUGES = {
    "ready": ("model_ready", "1 while a worker of the model answers; none of a model that is unloaded."),
    "windows": ("model_windows", "Windows of the model that wait or are at the upstreams now."),
}
MEDIA_NOW = ("processes", "ready", "busy", "waiting")  # the pool's other numbers are counters
ADMISSION_GAUGES = {
    "requests": ("admitted_requests", "Requests that are admitted and not finished."),
    "queued_audio_s": ("admitted_audio_seconds", "Their audio."),
    "audio_s_per_s": ("throughput_audio_seconds_per_second", "Measured while there was work."),
}


class StatsCollector(Collector):
    """Turns `stats()` into metrics; a missing key is left out."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def describe(self) -> Iterable[Metric]:
        return ()  # nothing is read before the first scrape

    def collect(self) -> Iterator[Metric]:
        parts = self._parts
        dispatcher = parts.fleet.stats()
        yield from _gauges(dispatcher, DISPATCHER_GAUGES)
        for key, (name, what) in DISPATCHER_COUNTERS.items():
            if key in dispatcher:
                yield CounterMetricFamily(f"{PREFIX}_{name}", what, value=dispatcher[key])
        yield from _labelled(dispatcher.get("upstreams", ()), UPSTREAM_GAUGES, "upstream", "url")
        models = dispatcher.get("models", ())
        yield from _labelled(models, MODEL_GAUGES, "model", "name")
        loads = CounterMetricFamily(f"{PREFIX}_model_loads", "Loads of a model on demand.", labels=("model",))
        for model in models:
            loads.add_metric((model["name"],), model["loads"])
        yield loads
        yield from _gauges(parts.admission.stats(), ADMISSION_GAUGES)
        for key, value in parts.pool.stats().items():
            if key in MEDIA_NOW:
                yield GaugeMetricFamily(f"{PREFIX}_media_{key}", "Media processes now.", value=value)
            else:
                yield CounterMetricFamily(f"{PREFIX}_media_{key}", "Media processes' past.", value=value)


def _gauges(stats: Mapping[str, Any], gauges: Mapping[str, tuple[str, str]]) -> Iterator[Metric]:
    for key, (name, what) in gauges.items():
        if key in stats:
            yield GaugeMetricFamily(f"{PREFIX}_{name}", what, value=stats[key])


def _labelled(
    parts: Iterable[Mapping[str, Any]], gauges: Mapping[str, tuple[str, str]], label: str, key_of: str
) -> Iterator[Metric]:
    """Each gauge with one value for every part, which `label` tells apart."""
    parts = list(parts)
    for key, (name, what) in gauges.items():
        family = GaugeMetricFamily(f"{PREFIX}_{name}", what, labels=(label,))
        for part in parts:
            if key in part:
                family.add_metric((str(part[key_of]),), float(part[key]))
        yield family
