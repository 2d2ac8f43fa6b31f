"""What the OpenAPI document says of bodies that no Pydantic model reads: the forms and the answers' kinds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from asr.field_values import Choice, Flag, Items, Kind, Number, Text
from asr.fields import FIELDS, Field
from asr.render import SRT, TEXT, TSV, VTT
from gateway.http import schemas
from gateway.http.options import NOT_FOR_TRANSLATIONS

SRT_EXAMPLE = "1\n00:00:00,000 --> 00:00:02,500\nThe stale smell of old beer lingers.\n"
EVENTS_EXAMPLE = (
    'data: {"type": "transcript.text.delta", "delta": "The stale smell"}\n\n'
    'data: {"type": "transcript.text.done", "text": "The stale smell of old beer lingers.", '
    '"usage": {"type": "duration", "seconds": 3}}\n\n'
)
FORM = "multipart/form-data"
FILE: dict[str, Any] = {"type": "string", "format": "binary"}
OPENAI_SCHEMAS: dict[str, dict[str, Any]] = {  # where ours takes more than OpenAI's contract says
    "temperature": {"type": "number", "minimum": 0, "maximum": 1}
}
MEANINGS = {"model": "a name that /v1/models lists; left out, the model that is served"}
ERRORS = {
    400: "a field or the form is wrong; `param` names it",
    401: "no API key, or an unknown one",
    404: "no such model",
    408: "the upload came too slowly",
    413: "too many bytes or seconds",
    415: "not a form, or not audio",
    429: "a limit is reached; see Retry-After",
    500: "a fault of this server",
    503: "no worker is ready; see Retry-After",
    504: "not finished within X-Request-Deadline seconds",
}
DEADLINE_PARAMETER = {
    "name": "X-Request-Deadline",
    "in": "header",
    "required": False,
    "description": "seconds after which the request is given up with 504",
    "schema": {"type": "number", "exclusiveMinimum": 0},
}


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """FastAPI's `responses` for these statuses; for all of them if none is named."""
    return {status: {"model": schemas.Error, "description": ERRORS[status]} for status in statuses or ERRORS}


def transcript_responses() -> dict[int | str, dict[str, Any]]:
    """Every shape of a transcript, and every error."""
    content: dict[str, dict[str, Any]] = {
        **{_media_type(kind): {"schema": {"type": "string"}} for kind in (TEXT, SRT, VTT, TSV)},
        "text/event-stream": {"schema": {"type": "string"}, "example": EVENTS_EXAMPLE},
    }
    content[_media_type(SRT)]["example"] = SRT_EXAMPLE
    shape = schemas.Transcription | schemas.TranscriptionVerbose
    return {200: {"model": shape, "content": content, "description": "the transcript"}, **errors()}


def event_response() -> dict[int | str, dict[str, Any]]:
    """An answer that is always a stream of events."""
    content = {"text/event-stream": {"schema": {"type": "string"}, "example": EVENTS_EXAMPLE}}
    return {200: {"content": content, "description": "the transcript as it is made"}}


def transcription_form() -> dict[str, Any]:
    """`openapi_extra` of /v1/audio/transcriptions."""
    return _options_form(FIELDS)


def translation_form() -> dict[str, Any]:
    """`openapi_extra` of /v1/audio/translations."""
    return _options_form(field for field in FIELDS if field.name not in NOT_FOR_TRANSLATIONS)


def file_form(name: str = "file", *, several: bool = False) -> dict[str, Any]:
    """`openapi_extra` of a form that holds nothing but audio."""
    return _body({name: {"type": "array", "items": FILE, "minItems": 1} if several else FILE}, [name])


def _options_form(fields: Iterable[Field]) -> dict[str, Any]:
    properties = {"file": {**FILE, "description": "audio or video of any common container"}}
    for field in fields:
        schema = OPENAI_SCHEMAS.get(field.name) or _schema(field.kind)
        name = field.name + ("[]" if schema["type"] == "array" else "")
        properties[name] = {**schema, "description": _described(field)}
    return _body(properties, ["file"])


def _described(field: Field) -> str:
    also = f"; also spelled {', '.join(field.aliases)}" if field.aliases else ""
    return f"{MEANINGS.get(field.name, field.meaning)}: {field.kind.allowed}{also}"


def _body(properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    schema = {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }
    return {
        "requestBody": {"required": True, "content": {FORM: {"schema": schema}}},
        "parameters": [DEADLINE_PARAMETER],
    }


def _schema(kind: Kind) -> dict[str, Any]:
    if isinstance(kind, Items):
        return {"type": "array", "items": _schema(kind.of), "maxItems": kind.max_items}
    if isinstance(kind, Number) and not kind.or_none:
        number = "integer" if kind.whole else "number"
        return {"type": number, "minimum": kind.low, "maximum": kind.high}
    if isinstance(kind, Flag):
        return {"type": "boolean"}
    if isinstance(kind, Choice):
        return {"type": "string", "enum": list(kind.names)}
    if isinstance(kind, Text):
        return {"type": "string", "minLength": kind.min_chars, "maxLength": kind.max_chars}
    return {"type": "string"}


def _media_type(content_type: str) -> str:
    return content_type.partition(";")[0]


def with_keys(document: dict[str, Any]) -> dict[str, Any]:
    """The document, saying that a key may be needed."""
    schemes = document.setdefault("components", {}).setdefault("securitySchemes", {})
    schemes["key"] = {"type": "http", "scheme": "bearer", "description": "where the server has keys"}
    document["security"] = [{}, {"key": []}]
    return document
