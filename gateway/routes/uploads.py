"""OpenAI's uploads: files that are larger than one request may be."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request

from gateway.http.forms import received_form
from gateway.http.small_json import received_object
from gateway.jobs.files.catalogue import NewFile
from gateway.jobs.refusals import Refused
from gateway.jobs.requests import JobCaller, jobs_of
from gateway.openapi import documents, job_documents

router = APIRouter(prefix="/v1/uploads", tags=["files"])


@router.post(
    "",
    responses=documents.errors(400, 401, 413, 429, 503) | job_documents.upload_response(),
    openapi_extra=job_documents.upload_body(),
)
async def create_upload(request: Request, caller: JobCaller) -> dict[str, Any]:
    """Begins a file that comes in parts."""
    body = await received_object(request)
    new = NewFile(_text(body, "filename"), _text(body, "purpose"), _lifetime(body))
    num_bytes = body.get("bytes")
    if not isinstance(num_bytes, int) or num_bytes < 1:
        raise Refused("bytes must be the size of the file", param="bytes")
    return await asyncio.to_thread(jobs_of(request).uploads.create, caller.name, new, num_bytes)


@router.post(
    "/{upload_id}/parts",
    responses=documents.errors(400, 401, 404, 408, 413, 415, 429, 503) | job_documents.part_response(),
    openapi_extra=job_documents.part_form(),
)
async def add_upload_part(upload_id: str, request: Request, caller: JobCaller) -> dict[str, Any]:
    """Adds a part."""
    jobs = jobs_of(request)
    async with received_form(request, jobs.incoming) as form:
        path = form.uploads_named("data")[0].path
        return await asyncio.to_thread(jobs.uploads.add_part, caller.name, upload_id, path)


@router.post(
    "/{upload_id}/complete",
    responses=documents.errors(400, 401, 404, 413, 429, 503) | job_documents.upload_response(),
    openapi_extra=job_documents.complete_body(),
)
async def complete_upload(upload_id: str, request: Request, caller: JobCaller) -> dict[str, Any]:
    """Puts the parts together."""
    body = await received_object(request)
    parts, md5 = body.get("part_ids"), body.get("md5")
    if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts):
        raise Refused("part_ids must be a list of ids", param="part_ids")
    if not isinstance(md5, str | None):
        raise Refused("md5 must be a text", param="md5")
    return await asyncio.to_thread(jobs_of(request).uploads.complete, caller.name, upload_id, parts, md5)


@router.post(
    "/{upload_id}/cancel", responses=documents.errors(401, 404, 503) | job_documents.upload_response()
)
async def cancel_upload(upload_id: str, request: Request, caller: JobCaller) -> dict[str, Any]:
    """Drops the parts."""
    return await asyncio.to_thread(jobs_of(request).uploads.cancel, caller.name, upload_id)


def _text(body: dict[str, Any], name: str) -> str:
    if not isinstance(value := body.get(name), str):
        raise Refused(f"{name} is missing", "missing_required_parameter", param=name)
    return value


def _lifetime(body: dict[str, Any]) -> int | None:
    if (value := body.get("expires_after")) is None:
        return None
    if not isinstance(value, dict) or not isinstance(value.get("seconds"), int):
        raise Refused("expires_after must have anchor: created_at and seconds", param="expires_after")
    seconds: int = value["seconds"]
    return seconds
