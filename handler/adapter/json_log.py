"""The worker's log: one JSON object per line on standard output.

TorchServe reads this worker's standard output and takes any line that starts with `[METRICS]` for a metric
sample. No caller's text may begin a line, so every line starts with `{`, and JSON escapes line breaks.
Transcripts are private and stay out unless `log_text` is set.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from typing import Any

logger = logging.getLogger("whisper")
OUR_LOGGERS = ("whisper", "asr", "adapter")


class JsonLine(logging.Formatter):
    """A log record as one JSON line; those of `log_event` are JSON already."""

    def format(self, record: logging.LogRecord) -> str:
        message = record.getMessage()
        if record.name == logger.name:
            return message
        values = {"event": "message", "level": record.levelname, "logger": record.name, "message": message}
        if record.exc_info:
            values["traceback"] = self.formatException(record.exc_info)
        return json.dumps(values)


def configure_logging() -> None:
    """Puts our loggers' lines on standard output in JSON.

    They get a handler of their own. The root's format must stay as TorchServe set it, because its metrics
    travel through it; and it would write a traceback raw, whose lines may quote a caller.
    """
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonLine())
    for name in OUR_LOGGERS:
        ours = logging.getLogger(name)
        ours.setLevel(logging.INFO)
        ours.handlers[:] = [handler]
        ours.propagate = False


def log_event(event: str, level: int = logging.INFO, **values: Any) -> None:
    """Writes one line, `event` first; a value that is not JSON is written by its repr."""
    logger.log(level, "%s", json.dumps({"event": event, **values}, default=repr))


def log_failure(what: str, **values: Any) -> None:
    """Writes the exception being handled, traceback and all, as one line."""
    log_event("failure", logging.ERROR, what=what, **values, traceback=traceback.format_exc())
