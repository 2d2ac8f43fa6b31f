"""A TorchServe row and its headers → a frozen `Request`.

TorchServe decides what arrives (ts/protocol/otf_message_handler.py, ts/service.py). A raw body is
`{"body": bytearray}`, or `str` if its content type is text, or the parsed value if it is JSON. A form is one
key per field; a repeated field keeps its last value. The query string and the method never arrive.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from asr.errors import AsrError, InvalidAudio, InvalidOption, UnsupportedMedia
from asr.request.bodies import (
    AUDIO_FIELDS,
    OPTIONS_HEADER,
    Base64Audio,
    audio_text,
    header_options,
    json_object,
)
from asr.request.values import without_blanks

PATHS = {  # tail of /predictions/<model>/<version>/ → kind of request
    "": "file",
    "v1/audio/transcriptions": "file",
    "v1/audio/translations": "file",
    "windows": "windows",
    "healthz": "healthz",
    "model": "model",
}
TRANSLATIONS_PATH = "v1/audio/translations"

HOW_TO_SEND = (
    "send the audio as the raw body (curl --data-binary @speech.wav -H 'Content-Type: audio/wav'), "
    'as a form field (curl -F file=@speech.wav) or as base64 in JSON ({"audio": "..."})'
)


class UnknownPath(AsrError):
    """There is nothing at the path behind /predictions/<model>/<version>/."""

    status = 404
    type = "invalid_request_error"
    code = "not_found"


@dataclass(frozen=True, slots=True)
class Request:
    """One row, taken apart; its options are not checked yet."""

    kind: str  # "file" | "windows" | "healthz" | "model"
    body: bytes | bytearray = b""  # the upload: a media file, or a window in its wire format
    fields: Mapping[str, Any] = field(default_factory=dict)  # option name → text, or a JSON value


def read_row(row: Any, headers: Mapping[str, Any]) -> Request:
    """The request in one row; raises UnknownPath, InvalidAudio, InvalidOption or UnsupportedMedia."""
    kind, path = kind_of(headers), _path(headers)
    if kind is None:
        known = ", ".join(repr(name) for name in PATHS)
        raise UnknownPath(f"there is nothing at {path[:200]!r}; behind the version may stand one of {known}")
    if kind in ("healthz", "model"):
        return Request(kind)
    if not isinstance(row, Mapping):
        raise InvalidAudio(f"the request holds no upload; {HOW_TO_SEND}")
    if kind == "windows":
        return Request(kind, _window_body(row))
    options = header_options(text_header(headers, OPTIONS_HEADER.lower()))
    sent = _upload_fields(row, headers)
    body = _take_audio(sent, headers)
    fields = {**options, **without_blanks(sent)}
    if path == TRANSLATIONS_PATH:
        _demand_translation(fields)
    return Request(kind, body, fields)


def kind_of(headers: Mapping[str, Any]) -> str | None:
    """The kind of a request, by its headers alone; None if there is nothing at its path."""
    if text_header(headers, "describe").lower() == "true":  # GET /models/<model>?customized=true
        return "model"
    return PATHS.get(_path(headers))


def _path(headers: Mapping[str, Any]) -> str:
    return text_header(headers, "url_path").strip("/")


def text_header(headers: Mapping[str, Any], name: str) -> str:
    """The value of a header, its name in any case; "" where absent.

    A form adds a `{"content-type": …}` dict for each field to the headers, so only `str` values count.
    """
    exact = headers.get(name)  # TorchServe's own `url_path` and `describe` win over a client's `Url_Path`
    if isinstance(exact, str):
        return exact
    for key, value in headers.items():
        if isinstance(key, str) and key.lower() == name and isinstance(value, str):
            return value
    return ""


def _window_body(row: Mapping[str, Any]) -> bytes | bytearray:
    value = row.get("body", row.get("data"))
    if isinstance(value, (bytes, bytearray)) and value:
        return value
    raise InvalidAudio("a window is a raw application/octet-stream body in the window wire format")


def _upload_fields(row: Mapping[str, Any], headers: Mapping[str, Any]) -> dict[str, Any]:
    """Every field of the upload, among them the audio under one of AUDIO_FIELDS."""
    content_type = text_header(headers, "content-type").lower()
    if content_type.startswith("multipart/") and "boundary=" not in content_type:
        raise InvalidOption("Content-Type is multipart without a boundary, so its parts cannot be told apart")
    if "json" not in content_type or set(row) != {"body"}:
        return dict(row)
    document = row["body"]
    if isinstance(document, Mapping):
        return _decode_base64(dict(document))
    if isinstance(document, (bytes, bytearray)) and not document:
        raise InvalidAudio(f"the request is empty; {HOW_TO_SEND}")
    if isinstance(document, (bytes, bytearray, str)):
        return _decode_base64(json_object(document))
    raise InvalidOption(
        f'the JSON body is {type(document).__name__}, must be an object such as {{"audio": "<base64>"}}'
    )


def _decode_base64(fields: dict[str, Any]) -> dict[str, Any]:
    """`fields` with the audio as bytes."""
    name, text = audio_text(fields)
    audio = Base64Audio(name)
    fields[name] = audio.feed(text.encode("utf-8", "surrogatepass"))
    audio.end()
    return fields


def _take_audio(fields: dict[str, Any], headers: Mapping[str, Any]) -> bytes | bytearray:
    """The upload, removed from `fields`; the text of all other fields decoded in place."""
    name = next((name for name in AUDIO_FIELDS if name in fields), None)
    audio = b"" if name is None else _bytes_of(name, fields.pop(name))
    if not audio:
        raise InvalidAudio(_why_empty(name, headers), param=name)
    for key, value in fields.items():
        if isinstance(value, (bytes, bytearray)):
            try:
                fields[key] = value.decode("utf-8")
            except UnicodeDecodeError as error:
                name = key[:100]
                raise InvalidOption(f"{name!r} is not UTF-8 text: {error.reason}", param=name) from error
    return audio


def _bytes_of(name: str, value: Any) -> bytes | bytearray:
    if isinstance(value, (bytes, bytearray)):
        return value  # as it is: a copy of 150 MB is not free
    if isinstance(value, str):  # a text/* body that is valid UTF-8: the bytes are what they were
        return value.encode("utf-8", "surrogatepass")
    raise UnsupportedMedia(f"{name} holds a JSON {type(value).__name__}, not audio", param=name)


def _why_empty(name: str | None, headers: Mapping[str, Any]) -> str:
    if name is not None and name != "body":
        return f"{name} is empty; {HOW_TO_SEND}"
    content_type = text_header(headers, "content-type").lower()
    if content_type.startswith("application/x-www-form-urlencoded"):
        return f"the body arrived as a web form (curl -d does that) and holds no audio; {HOW_TO_SEND}"
    if content_type.startswith("multipart/"):
        return f"the form has no file field, or its boundary or end is missing; {HOW_TO_SEND}"
    return f"the request is empty; {HOW_TO_SEND}"


def _demand_translation(fields: dict[str, Any]) -> None:
    if without_blanks(fields).get("task", "translate") != "translate":
        raise InvalidOption("task must be 'translate' (or left out) at v1/audio/translations", param="task")
    fields["task"] = "translate"
