"""The OpenAPI document of bodies that no Pydantic model reads: forms, and answers in several formats."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel

from asr.render.formats import SRT, TEXT, TSV, VTT
from asr.request.fields import FIELDS, Field
from asr.request.values import Flag, Items, Kind, Number, OneOf, Text
from gateway.openapi import examples, schemas
from gateway.openapi.schemas import NOT_FOR_TRANSLATIONS

FORM = "multipart/form-data"
JSON = "application/json"
BARE = "application/octet-stream"  # or audio/…, video/…
FILE: dict[str, Any] = {"type": "string", "format": "binary"}
CONTAINERS = "audio or video of any common container"
OPENAI_SCHEMAS: dict[str, dict[str, Any]] = {  # of fields that take more here than in OpenAI's contract
    "temperature": {"type": "number", "minimum": 0, "maximum": 1}
}
MEANINGS = {"model": "a name that /v1/models lists; left out, the model that is served"}
FORBIDDEN = 403  # of few paths
ERRORS = {
    400: "a field or the form is wrong; `param` names it",
    401: "no API key, or an unknown one",
    FORBIDDEN: "a key that may not do this",
    404: "no such model",
    408: "the upload came too slowly",
    413: "too many bytes or seconds",
    415: "a Content-Type that is not taken here, or not audio",
    429: "a limit is reached; see Retry-After",
    500: "a fault of this server",
    503: "no worker is ready, or the disk is full; see Retry-After",
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
    """FastAPI's `responses` for these statuses, or for all of them."""
    return {
        status: {
            "model": schemas.Error,
            "description": ERRORS[status],
            "content": {"application/json": {"example": examples.ERRORS[status]}},
        }
        for status in statuses or ERRORS.keys() - {FORBIDDEN}
    }


def json_response(meaning: str, example: Any) -> dict[int | str, dict[str, Any]]:
    """A JSON answer; its schema comes from the route's return type."""
    return {200: {"description": meaning, "content": {"application/json": {"example": example}}}}


def transcript_responses() -> dict[int | str, dict[str, Any]]:
    """Every format of a transcript, and every error."""
    texts = {TEXT: examples.TEXT_FILE, SRT: examples.SRT, VTT: examples.VTT, TSV: examples.TSV}
    texts["text/event-stream"] = examples.EVENTS
    content: dict[str, dict[str, Any]] = {
        _media_type(kind): {"schema": {"type": "string"}, "example": example}
        for kind, example in texts.items()
    }
    content["application/json"] = {
        "examples": {"json": {"value": examples.JSON}, "verbose_json": {"value": examples.VERBOSE_JSON}}
    }
    shape = schemas.Transcription | schemas.TranscriptionVerbose
    return {200: {"model": shape, "content": content, "description": "the transcript"}, **errors()}


def webservice_response() -> dict[int | str, dict[str, Any]]:
    """A file as openai-whisper writes it; only the request says in which format."""
    content = {"text/plain": {"schema": {"type": "string"}, "example": examples.SRT}}
    return {200: {"content": content, "description": "the file that `output` names"}}


def event_response() -> dict[int | str, dict[str, Any]]:
    """An answer that is always a stream of events."""
    content = {"text/event-stream": {"schema": {"type": "string"}, "example": examples.EVENTS}}
    return {200: {"content": content, "description": "the transcript as it is made"}}


def transcription_form() -> dict[str, Any]:
    """`openapi_extra` of /v1/audio/transcriptions."""
    sample = examples.request(
        "/v1/audio/transcriptions", "file=@samples/harvard.wav", "model=whisper-1", "response_format=srt"
    )
    return _options_form(FIELDS) | sample


def translation_form() -> dict[str, Any]:
    """`openapi_extra` of /v1/audio/translations."""
    fields = (field for field in FIELDS if field.name not in NOT_FOR_TRANSLATIONS)
    sample = examples.request("/v1/audio/translations", "file=@samples/hindi.opus", "model=whisper-1")
    return _options_form(fields) | sample


def file_form(path: str, name: str = "file", *, several: bool = False) -> dict[str, Any]:
    """`openapi_extra` of a form that holds audio alone."""
    files = ({"type": "array", "items": FILE, "minItems": 1} if several else FILE) | {
        "description": CONTAINERS
    }
    sample = examples.request(path, *[f"{name}=@samples/harvard.wav", f"{name}=@README.md"][: 1 + several])
    return _body({name: files}, [name]) | sample


def json_body(shape: type[BaseModel]) -> dict[str, Any]:
    """`openapi_extra` of a small JSON body that may be left out."""
    schema = shape.model_json_schema(ref_template="#/components/schemas/{model}")
    for name, definition in schema.pop("$defs", {}).items():  # written out: nothing else refers to them
        reference = json.dumps({"$ref": f"#/components/schemas/{name}"})
        schema = json.loads(json.dumps(schema).replace(reference, json.dumps(definition)))
    return {"requestBody": {"content": {JSON: {"schema": schema}}}}


def _options_form(fields: Iterable[Field]) -> dict[str, Any]:
    """A form, JSON with the same fields, or the bare file with the fields in the address."""
    options = {field.name: _documented(field) for field in fields}
    spelled = {name + ("[]" if schema["type"] == "array" else ""): schema for name, schema in options.items()}
    body = _body({"file": {**FILE, "description": CONTAINERS}, **spelled}, ["file"])
    as_json = {"audio": {"type": "string", "format": "byte", "description": f"base64 of {CONTAINERS}"}}
    body["requestBody"]["content"] |= {
        JSON: {"schema": _object({**as_json, **options}, ["audio"])},
        BARE: {"schema": {**FILE, "description": f"{CONTAINERS}, with the fields as query parameters"}},
    }
    return body


def _documented(field: Field) -> dict[str, Any]:
    schema = OPENAI_SCHEMAS.get(field.name) or _schema(field.kind)
    return {**schema, "description": _described(field)}


def _described(field: Field) -> str:
    also = f"; also spelled {', '.join(field.aliases)}" if field.aliases else ""
    return f"{MEANINGS.get(field.name, field.meaning)}: {field.kind.allowed}{also}"


def _body(properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    return {
        "requestBody": {"required": True, "content": {FORM: {"schema": _object(properties, required)}}},
        "parameters": [DEADLINE_PARAMETER],
    }


def _object(properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def _schema(kind: Kind) -> dict[str, Any]:
    if isinstance(kind, Items):
        return {"type": "array", "items": _schema(kind.of), "maxItems": kind.max_items}
    if isinstance(kind, Number) and not kind.or_none:
        number = "integer" if kind.whole else "number"
        return {"type": number, "minimum": kind.low, "maximum": kind.high}
    if isinstance(kind, Flag):
        return {"type": "boolean"}
    if isinstance(kind, OneOf):
        return {"type": "string", "enum": list(kind.names)}
    if isinstance(kind, Text):
        return {"type": "string", "minLength": kind.min_chars, "maxLength": kind.max_chars}
    return {"type": "string"}


def _media_type(content_type: str) -> str:
    return content_type.partition(";")[0]


def finished(document: dict[str, Any]) -> dict[str, Any]:
    """The document with the security scheme, and without FastAPI's 422 for a bad parameter, which is a 400
    here."""
    for operations in document["paths"].values():
        for operation in operations.values():
            operation["responses"].pop("422", None)
    for name in ("HTTPValidationError", "ValidationError"):
        document.get("components", {}).get("schemas", {}).pop(name, None)
    schemes = document.setdefault("components", {}).setdefault("securitySchemes", {})
    schemes["key"] = {"type": "http", "scheme": "bearer", "description": "where the server has keys"}
    document["security"] = [{}, {"key": []}]
    return document
