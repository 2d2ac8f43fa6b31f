"""One request's answer: status, content type and body, in the only characters TorchServe can carry.

TorchServe counts the reason phrase and the content type in characters but sends their bytes in UTF-8: one
non-ASCII letter breaks the frame for the whole batch and costs the worker. So the phrases come from the HTTP
standard, every header is a constant, and a caller's text goes into the body only.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Protocol

from asr.errors import AsrError

JSON_TYPE = "application/json"
EVENT_STREAM_TYPE = "text/event-stream"
LINE_TYPE = "application/x-ndjson"  # one line of JSON, complete before the response is


class ResponseContext(Protocol):
    """The part of TorchServe's context that takes a row's status and headers."""

    def set_response_status(self, code: int = 200, phrase: str = "", idx: int = 0) -> None: ...

    def set_response_content_type(self, idx: int, value: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to one row."""

    status: int
    content_type: str
    body: bytes


def json_reply(value: Any, status: int = 200) -> Reply:
    """`value` as a JSON reply, escaped to ASCII, so that even a lone surrogate can be sent back."""
    return Reply(status, JSON_TYPE, json.dumps(value).encode("ascii"))


def error_reply(error: AsrError) -> Reply:
    """OpenAI's error body under the error's own status."""
    return json_reply(error.body(), error.status)


def announce(reply: Reply, context: ResponseContext, index: int) -> None:
    """Sets the row's status, reason phrase and content type in TorchServe's context."""
    context.set_response_status(reply.status, HTTPStatus(reply.status).phrase, index)
    context.set_response_content_type(index, reply.content_type)
