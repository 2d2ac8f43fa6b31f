"""Traces: FastAPI's spans, one per request, and ours, one per turn of a stream, sent to an OpenTelemetry
collector if the settings name one.

    FastAPI(…, telemetry=telemetry(settings.observe))

An incoming `traceparent` is continued. A span holds nothing of a request's content.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

from fastapi.telemetry import TelemetryConfig
from opentelemetry import trace

from gateway.observe.record import RequestRecord
from gateway.settings import ObserveSettings, SettingsError

SERVICE = "whisper-gateway"
UNTRACED = ("/health/", "/metrics")


def telemetry(settings: ObserveSettings) -> TelemetryConfig:
    """FastAPI's settings for traces; raises SettingsError if the exporter is not installed."""
    off: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False, "auto_configure": False}
    if settings.otlp_endpoint is None:
        return off
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise SettingsError(
            f"observe.otlp_endpoint is {settings.otlp_endpoint}, "
            "which needs `pip install -r requirements-gateway.txt`"
        ) from error
    provider = TracerProvider(resource=Resource.create({"service.name": SERVICE}))  # flushed at exit
    endpoint = f"{str(settings.otlp_endpoint).rstrip('/')}/v1/traces"
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint)))
    return off | {
        "tracing": True,
        "tracer_provider": provider,
        "operation_spans": False,  # the stages say more, and each span costs 26 us
        "exclude": _untraced,
    }


def tracer_of(options: TelemetryConfig) -> trace.Tracer:
    """Makes the spans of turns inside a stream's span; they cost next to nothing where traces are off."""
    return trace.get_tracer(SERVICE, tracer_provider=options.get("tracer_provider"))


@contextmanager
def turn_span(tracer: trace.Tracer, **attributes: str | float) -> Iterator[trace.Span]:
    """Around the work on a committed turn; names get the prefix `whisper.`."""
    named = {f"whisper.{name}": value for name, value in attributes.items()}
    with tracer.start_as_current_span("turn", attributes=named, record_exception=False) as span:
        yield span


def describe_span(record: RequestRecord) -> None:
    """Copies the record into the request's span, if it has one."""
    span = trace.get_current_span()
    if not span.is_recording():
        return
    span.set_attribute("whisper.request_id", record.id)
    span.set_attribute("whisper.caller", record.caller)
    span.set_attribute("whisper.windows", record.windows)
    if record.audio_s is not None:
        span.set_attribute("whisper.audio_s", record.audio_s)
    if record.error_code is not None:
        span.set_attribute("whisper.error_code", record.error_code)
    for name, seconds in record.stages_s.items():
        span.set_attribute(f"whisper.stage.{name}_s", seconds)


def _untraced(scope: MutableMapping[str, Any]) -> bool:
    path: str = scope.get("path", "")
    return path.startswith(UNTRACED)
