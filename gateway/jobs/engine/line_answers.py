"""The lines of output and error files, in OpenAI's shape."""

from __future__ import annotations

import json
from typing import Any

from asr.errors import AsrError
from gateway.job_rows import new_id
from gateway.jobs.engine.ledger import LineAnswer


def transcribed(
    custom_id: str, request_id: str, body: bytes, content_type: str, audio_s: float
) -> LineAnswer:
    """The answer that the HTTP call would have had; a format that is not JSON is a text."""
    text = body.decode()
    shown = json.loads(text) if content_type.startswith("application/json") else text
    response = {"status_code": 200, "request_id": request_id, "body": shown}
    return LineAnswer("done", _line(custom_id, response, None), audio_s)


def refused(custom_id: str, request_id: str, error: AsrError) -> LineAnswer:
    """A request that the HTTP call would have refused."""
    response = {"status_code": error.status, "request_id": request_id, "body": error.body()}
    return LineAnswer("failed", _line(custom_id, response, None))


def failed(custom_id: str, code: str, message: str) -> LineAnswer:
    """A line without an answer."""
    return LineAnswer("failed", _line(custom_id, None, {"code": code, "message": message}))


def _line(custom_id: str, response: dict[str, Any] | None, error: dict[str, str] | None) -> str:
    line = {"id": new_id("batch_req_"), "custom_id": custom_id, "response": response, "error": error}
    return json.dumps(line, ensure_ascii=False, allow_nan=False)
