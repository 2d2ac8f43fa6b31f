"""What an upstream's error answer means: it is our handler's, or TorchServe's own.

The handler answers in OpenAI's shape, `{"error": {...}}`: that is the window's outcome, unless the worker is
overloaded. TorchServe's own answers, `{"code", "type", "message"}`, are about workers and queues: the window
was not decoded and may be sent again. The HTTP status alone does not distinguish the two.
"""

from __future__ import annotations

import json
from typing import Any

from asr.errors import (
    AsrError,
    EngineFailure,
    InvalidAudio,
    InvalidOption,
    Overloaded,
    TooLarge,
    UnsupportedMedia,
)

ERRORS = {kind.code: kind for kind in (InvalidOption, InvalidAudio, UnsupportedMedia, TooLarge)}
WORKER_DIED = "Worker died"  # a 507 too, after a SIGKILL
MAX_ECHO_CHARS = 200


class NotDecoded(Exception):
    """The upstream did not decode the window; it may be sent again. The message is for the log."""


class WorkerDied(NotDecoded):
    """The worker died while it decoded the window's batch; the window may be the cause."""


class Busy(NotDecoded):
    """The upstream's queue is full, or the worker was scaled down; the window is not the cause."""


class NoMemory(NotDecoded):
    """The worker or TorchServe itself had no memory for the window at that moment; both live on."""


class Unreachable(NotDecoded):
    """The upstream did not answer, or is another kind of server."""


class Cut(NotDecoded):
    """The connection ended before the answer: a worker died, the server restarted or closed an idle one."""


class KeyRefused(Unreachable):
    """TorchServe does not accept our key, or no longer does."""


def failure(status: int, body: bytes) -> AsrError | NotDecoded:
    """The meaning of an answer other than 200."""
    answer = _parsed(body)
    error = answer.get("error")
    if isinstance(error, dict):
        message, code, param = str(error.get("message")), str(error.get("code")), error.get("param")
        if code == Overloaded.code:
            return NoMemory(message)
        kind = ERRORS.get(code, EngineFailure)
        return kind(message, param=param if isinstance(param, str) else None)
    return _torchserve(status, str(answer.get("type")), str(answer.get("message", body[:MAX_ECHO_CHARS])))


def _torchserve(status: int, kind: str, message: str) -> AsrError | NotDecoded:
    details = f"HTTP {status} {kind}: {message[:MAX_ECHO_CHARS]}"
    if kind == "InvalidKeyException" or status in (401, 403):
        return KeyRefused(details)
    if kind == "ServiceUnavailableException" or "scaled down" in message:
        return Busy(details)
    if status == 507 and WORKER_DIED not in message:
        return NoMemory(details)
    if kind == "InternalServerException":
        return WorkerDied(details)  # or the handler raised for the whole batch, which counts the same
    if status == 413:
        return EngineFailure("the model server refuses windows for their size: max_request_size is too low")
    return Unreachable(details)


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
