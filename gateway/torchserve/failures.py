"""What an upstream's answer means: our handler's words, or TorchServe's own.

The handler answers in OpenAI's shape, `{"error": {...}}`: that is the window's outcome, unless the worker is
overloaded. TorchServe's own answers, `{"code", "type", "message"}`, are about workers and queues: the window
was not decoded and may go again. Its statuses alone do not tell one from the other.
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
    """The worker ended over the batch this window was in: this window may be the cause."""


class Busy(NotDecoded):
    """No room in the upstream's queue, or the worker was scaled down: nothing is wrong with the window."""


class NoMemory(NotDecoded):
    """The worker, or TorchServe itself, had no memory for the window at that moment; both live on."""


class Unreachable(NotDecoded):
    """The upstream did not answer, or is not the server it should be."""


class Cut(NotDecoded):
    """The connection ended before the answer: a worker's end, a restart, an idle connection closed."""


class KeyRefused(Unreachable):
    """TorchServe does not know our key, or not any more."""


def failure(status: int, body: bytes) -> AsrError | NotDecoded:
    """What an answer other than 200 says."""
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
    said = f"HTTP {status} {kind}: {message[:MAX_ECHO_CHARS]}"
    if kind == "InvalidKeyException" or status in (401, 403):
        return KeyRefused(said)
    if kind == "ServiceUnavailableException" or "scaled down" in message:
        return Busy(said)
    if status == 507 and WORKER_DIED not in message:
        return NoMemory(said)
    if kind == "InternalServerException":
        return WorkerDied(said)  # or the handler raised over the whole batch, which is no better
    if status == 413:
        return EngineFailure("the model server refuses windows for their size: max_request_size is too low")
    return Unreachable(said)


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
