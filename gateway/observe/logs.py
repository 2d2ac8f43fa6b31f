"""Log lines: one JSON object each, on standard output, with the request's id."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any

from opentelemetry import trace

from gateway.observe.record import RequestRecord, current_record

QUIET = ("uvicorn", "uvicorn.error", "asyncio")

PROBED = ("/health/", "/metrics")

request_log = logging.getLogger("gateway.request")


class JsonFormatter(logging.Formatter):
    """Writes ASCII alone: no text from a client can start a new line or move a terminal's cursor."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
        }
        if request_id := current_record().id:
            line["request_id"] = request_id
        if (span := trace.get_current_span().get_span_context()).is_valid:
            line["trace_id"] = trace.format_trace_id(span.trace_id)
        line |= getattr(record, "fields", {})
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def configure_logging(level: str) -> None:
    """Makes all loggers of the process write JSON lines; libraries write warnings and errors alone."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)


def log_event(logger: logging.Logger, event: str, **fields: Any) -> None:
    """Logs one line with fields of its own."""
    logger.info(event, extra={"fields": fields})


def log_request(record: RequestRecord, log_text: bool) -> None:
    """Logs the request's line; health checks get one only at level debug."""
    level = logging.DEBUG if record.route.startswith(PROBED) else logging.INFO
    if not request_log.isEnabledFor(level):
        return
    fields: dict[str, Any] = {
        "method": record.method,
        "route": record.route,
        "status": record.status,
        "seconds": round(record.seconds, 4),
        "caller": record.caller or None,
        "address": record.address or None,
        "audio_s": None if record.audio_s is None else round(record.audio_s, 3),
        "model": record.model,
        "language": record.language,
        "windows": record.windows or None,
        "stages": {name: round(seconds, 4) for name, seconds in record.stages_s.items()} or None,
        "first_event_s": None if record.first_event_s is None else round(record.first_event_s, 4),
        "error": record.error_code,
        "text": record.text if log_text else None,
    }
    fields = {name: value for name, value in fields.items() if value is not None}
    request_log.log(level, "request", extra={"fields": fields})
