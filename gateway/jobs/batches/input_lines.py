"""The lines of a batch's input file, checked one by one; one line at a time is in memory."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO, Any

MAX_LINE_BYTES = 64 << 20  # a recording of 48 MB as a data: URL
MAX_FILE_BYTES = 200_000_000  # as OpenAI's
MAX_ID_CHARS = 512
SOURCES = ("file_id", "url", "file_url")  # of the audio: ours, and as Groq and vLLM call a URL


@dataclass(frozen=True, slots=True)
class InputLine:
    """A line that can be run."""

    number: int  # from 1
    custom_id: str
    position: int  # in the file, bytes
    num_bytes: int
    file_id: str | None  # of its audio; None: a URL
    model: str | None


@dataclass(frozen=True, slots=True)
class LineError:
    """Why a line, and with it the batch, is refused; OpenAI's fields."""

    code: str
    message: str
    line: int | None
    param: str | None = None

    def shown(self) -> dict[str, Any]:
        return {"code": self.code, "line": self.line, "message": self.message, "param": self.param}


class _Wrong(Exception):
    """The line breaks a rule."""

    def __init__(self, code: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.param = param


KnowsModel = Callable[[str | None], bool]


def checked_lines(
    file: IO[bytes], endpoint: str, max_lines: int, knows_model: KnowsModel
) -> Iterator[InputLine | LineError]:
    """Every line, or what is wrong with it; ends after an error that makes the others meaningless.

    Blank lines are skipped. Keeps eight bytes of each `custom_id`, nothing else.
    """
    seen: set[bytes] = set()
    number = count = position = 0
    while raw := file.readline(MAX_LINE_BYTES + 1):
        number += 1
        begin, position = position, position + len(raw)
        if len(raw) > MAX_LINE_BYTES:
            yield LineError("invalid_json_line", f"the line has more than {MAX_LINE_BYTES} bytes", number)
            return
        if not raw.strip():
            continue
        count += 1
        if count > max_lines:
            yield LineError(
                "too_many_requests_in_batch", f"the file has more than {max_lines} requests", number
            )
            return
        try:
            line = _checked(raw, number, begin, endpoint, knows_model)
            digest = hashlib.blake2b(line.custom_id.encode(), digest_size=8).digest()
            if digest in seen:
                raise _Wrong(
                    "duplicate_custom_id", f"{line.custom_id[:80]!r} stands twice in the file", "custom_id"
                )
            seen.add(digest)
            yield line
        except _Wrong as wrong:
            yield LineError(wrong.code, str(wrong), number, wrong.param)
    if not count:
        yield LineError("empty_file", "the file has no request", None)


def parsed_line(raw: bytes) -> dict[str, Any]:
    """The request of one line; raises ValueError."""
    request = json.loads(raw, parse_constant=_no_constant)
    if not isinstance(request, dict):
        raise ValueError("the line is no object")
    return request


def _checked(raw: bytes, number: int, position: int, endpoint: str, knows_model: KnowsModel) -> InputLine:
    try:
        request = parsed_line(raw)
    except (ValueError, RecursionError) as error:
        raise _Wrong("invalid_json_line", f"the line is no JSON object: {error}"[:200]) from error
    custom_id = request.get("custom_id")
    if not isinstance(custom_id, str) or not 1 <= len(custom_id) <= MAX_ID_CHARS:
        raise _Wrong(
            "missing_custom_id", f"custom_id must be a text of 1 to {MAX_ID_CHARS} characters", "custom_id"
        )
    if "\x00" in custom_id or any("\ud800" <= letter <= "\udfff" for letter in custom_id):
        raise _Wrong("missing_custom_id", "custom_id has a character that no text holds", "custom_id")
    if request.get("method") != "POST":
        raise _Wrong("invalid_method", "method must be POST", "method")
    if not isinstance(url := request.get("url"), str):
        raise _Wrong("invalid_url", f"url must be {endpoint}", "url")
    if url != endpoint:
        raise _Wrong("mismatched_endpoint", f"url is {url[:80]!r}, must be the batch's: {endpoint}", "url")
    body = request.get("body")
    if not isinstance(body, dict):
        raise _Wrong("missing_audio", "body must be an object", "body")
    file_id = _audio_file(body)
    model = body.get("model")
    if not isinstance(model, str | None) or not knows_model(model):
        raise _Wrong(
            "model_not_found", f"the model {str(model)[:80]!r} is not served to this key", "body.model"
        )
    return InputLine(number, custom_id, position, len(raw), file_id, model)


def _audio_file(body: dict[str, Any]) -> str | None:
    """The id of the audio's file; None if the audio is at a URL."""
    sources = [name for name in SOURCES if body.get(name) is not None]
    if not sources:
        raise _Wrong("missing_audio", f"body must have one of {', '.join(SOURCES)}", "body")
    if len(sources) > 1:
        raise _Wrong("multiple_audio_sources", f"body has {' and '.join(sources)}, must have one", "body")
    value = body[sources[0]]
    if not isinstance(value, str) or not value:
        raise _Wrong("missing_audio", f"{sources[0]} must be a text", f"body.{sources[0]}")
    return value if sources[0] == "file_id" else None


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")
