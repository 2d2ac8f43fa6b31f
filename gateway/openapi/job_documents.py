"""The OpenAPI document of files, uploads, batches and tasks."""

from __future__ import annotations

from typing import Any

from gateway.openapi import documents, examples

JSON = documents.JSON
FILE_OBJECT = {
    "id": "file-6f1c2b…",
    "object": "file",
    "bytes": 528044,
    "created_at": 1767225600,
    "filename": "harvard.wav",
    "purpose": "user_data",
    "status": "processed",
    "expires_at": 1769817600,
}
UPLOAD = {
    "id": "upload_6f1c2b…",
    "object": "upload",
    "bytes": 400000000,
    "created_at": 1767225600,
    "expires_at": 1767229200,
    "filename": "meeting.wav",
    "purpose": "user_data",
    "status": "pending",
    "file": None,
}
PART = {
    "id": "part_6f1c2b…",
    "object": "upload.part",
    "created_at": 1767225600,
    "upload_id": "upload_6f1c2b…",
}
BATCH = {
    "id": "batch_6f1c2b…",
    "object": "batch",
    "endpoint": "/v1/audio/transcriptions",
    "input_file_id": "file-77ab01…",
    "completion_window": "24h",
    "status": "in_progress",
    "created_at": 1767225600,
    "in_progress_at": 1767225601,
    "expires_at": 1767312000,
    "request_counts": {"total": 1000, "completed": 212, "failed": 1},
    "audio_seconds": {"processed": 2104.5},
    "queue_position": 0,
    "output_file_id": None,
    "error_file_id": None,
}
TASK = {"task_id": "batch_6f1c2b…", "status": "completed", "result": examples.JSON, "error": None}
CONFLICT = examples.error("the batch is completed already", "batch_not_cancellable")

Responses = dict[int | str, dict[str, Any]]


def file_response() -> Responses:
    return _shown("the file", FILE_OBJECT)


def upload_response() -> Responses:
    return _shown("the upload", UPLOAD) | _conflict("the upload has ended")


def part_response() -> Responses:
    return _shown("the part", PART) | _conflict("the upload has ended")


def batch_response() -> Responses:
    return _shown("the batch", BATCH) | _conflict("the batch has ended")


def task_response(status: int) -> Responses:
    return {status: _shown("the task", TASK)[200]}


def list_response(what: str) -> Responses:
    one = FILE_OBJECT if what == "files" else BATCH
    page = {"object": "list", "data": [one], "first_id": one["id"], "last_id": one["id"], "has_more": False}
    return _shown(f"a page of {what}", page)


def deleted_response() -> Responses:
    gone = {"id": FILE_OBJECT["id"], "object": "file", "deleted": True}
    return _shown("the file is gone", gone) | _conflict("a batch needs the file")


def content_response() -> Responses:
    lines = '{"id": "batch_req_…", "custom_id": "0", "response": {"status_code": 200, …}, "error": null}\n'
    content = {
        "application/jsonl": {"schema": {"type": "string"}, "example": lines},
        "application/octet-stream": {"schema": documents.FILE, "example": ""},
    }
    return {200: {"description": "the file's bytes", "content": content}}


def file_form() -> dict[str, Any]:
    """`openapi_extra` of POST /v1/files."""
    properties = {
        "file": {**documents.FILE, "description": f"{documents.CONTAINERS}, or the lines of a batch"},
        "purpose": {"type": "string", "enum": ["batch", "user_data"]},
        "expires_after[anchor]": {"type": "string", "enum": ["created_at"]},
        "expires_after[seconds]": {"type": "integer", "minimum": 3_600, "maximum": 2_592_000},
    }
    sample = examples.request("/v1/files", "file=@samples/harvard.wav", "purpose=user_data")
    return _form(properties, ["file", "purpose"]) | sample


def part_form() -> dict[str, Any]:
    """`openapi_extra` of POST /v1/uploads/{id}/parts."""
    return _form({"data": {**documents.FILE, "description": "the next bytes of the file"}}, ["data"])


def upload_body() -> dict[str, Any]:
    """`openapi_extra` of POST /v1/uploads."""
    properties = {
        "filename": {"type": "string"},
        "purpose": {"type": "string", "enum": ["batch", "user_data"]},
        "bytes": {"type": "integer", "minimum": 1},
        "mime_type": {"type": "string"},
        "expires_after": _lifetime(),
    }
    return _json(properties, ["filename", "purpose", "bytes"])


def complete_body() -> dict[str, Any]:
    """`openapi_extra` of POST /v1/uploads/{id}/complete."""
    ids = {"type": "array", "items": {"type": "string"}, "description": "in their order"}
    return _json({"part_ids": ids, "md5": {"type": "string"}}, ["part_ids"])


def batch_body() -> dict[str, Any]:
    """`openapi_extra` of POST /v1/batches."""
    endpoints = ["/v1/audio/transcriptions", "/v1/audio/translations"]
    windows = ["24h", "48h", "72h", "96h", "120h", "144h", "7d"]
    properties = {
        "input_file_id": {"type": "string", "description": "a file of purpose batch"},
        "endpoint": {"type": "string", "enum": endpoints},
        "completion_window": {"type": "string", "enum": windows},
        "metadata": {"type": "object", "additionalProperties": {"type": "string"}},
        "output_expires_after": _lifetime(),
        "priority": {
            "type": "integer",
            "minimum": 1,
            "maximum": 9,
            "description": "1 goes first, 5 is usual",
        },
        "webhook_url": {"type": "string", "description": "gets the event of the end of this batch"},
        "delete_after_use": {"type": "boolean", "description": "its files expire a day after its end"},
    }
    return _json(properties, ["input_file_id", "endpoint", "completion_window"])


def _shown(meaning: str, example: Any) -> Responses:
    return {200: {"description": meaning, "content": {JSON: {"example": example}}}}


def _conflict(meaning: str) -> Responses:
    return {409: {"description": meaning, "content": {JSON: {"example": CONFLICT}}}}


def _lifetime() -> dict[str, Any]:
    seconds = {"type": "integer", "minimum": 3_600, "maximum": 2_592_000}
    return {
        "type": "object",
        "properties": {"anchor": {"type": "string", "enum": ["created_at"]}, "seconds": seconds},
        "required": ["anchor", "seconds"],
    }


def _form(properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    schema = {"type": "object", "properties": properties, "required": required}
    return {"requestBody": {"required": True, "content": {documents.FORM: {"schema": schema}}}}


def _json(properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    schema = {"type": "object", "properties": properties, "required": required}
    return {"requestBody": {"required": True, "content": {JSON: {"schema": schema}}}}
