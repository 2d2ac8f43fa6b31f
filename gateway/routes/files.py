"""OpenAI's files: what batches read and write."""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from gateway.http.forms import received_form
from gateway.job_rows import Page
from gateway.jobs.files.catalogue import BATCH, BATCH_OUTPUT, NewFile
from gateway.jobs.refusals import Refused
from gateway.jobs.requests import JobCaller, asked, jobs_of, replied
from gateway.openapi import documents, job_documents

router = APIRouter(prefix="/v1/files", tags=["files"])

FIELDS = ("purpose", "expires_after[anchor]", "expires_after[seconds]")
DIGITS = re.compile(r"[0-9]{1,9}")


@router.post(
    "",
    responses=documents.errors(400, 401, 408, 413, 415, 429, 503) | job_documents.file_response(),
    openapi_extra=job_documents.file_form(),
)
async def create_file(request: Request, caller: JobCaller) -> Response:
    """Takes a file in: audio (`user_data`), or the requests of a batch (`batch`)."""
    jobs = jobs_of(request)
    async with received_form(request, jobs.incoming) as form:
        new = _new_file(form.single_upload().filename, form.fields)
        path = form.single_upload().path
        return replied(await asyncio.to_thread(jobs.files.add, asked(request, caller), path, new))


@router.get("", responses=documents.errors(400, 401, 503) | job_documents.list_response("files"))
def list_files(
    request: Request,
    caller: JobCaller,
    after: str | None = None,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 10_000,
    order: Literal["asc", "desc"] = "desc",
    purpose: str | None = None,
) -> dict[str, Any]:
    """The files of this key, the newest first."""
    return jobs_of(request).files.list(caller.name, Page(after, limit, order), purpose)


@router.get("/{file_id}", responses=documents.errors(401, 404, 503) | job_documents.file_response())
def retrieve_file(file_id: str, request: Request, caller: JobCaller) -> dict[str, Any]:
    """What is known of a file."""
    return jobs_of(request).files.show(caller.name, file_id)


@router.get(
    "/{file_id}/content",
    responses=documents.errors(401, 404, 503) | job_documents.content_response(),
    response_class=FileResponse,
)
def retrieve_file_content(file_id: str, request: Request, caller: JobCaller) -> Response:
    """Its bytes."""
    jobs = jobs_of(request)
    row = jobs.files.get(caller.name, file_id)
    kind = "application/jsonl" if row.purpose in (BATCH, BATCH_OUTPUT) else "application/octet-stream"
    target = jobs.incoming / f"read-{uuid.uuid4().hex}"
    path = jobs.files.fetch(file_id, target)
    gone = BackgroundTask(target.unlink, missing_ok=True)
    return FileResponse(path, media_type=kind, filename=row.filename or None, background=gone)


@router.delete("/{file_id}", responses=documents.errors(401, 404, 503) | job_documents.deleted_response())
def delete_file(file_id: str, request: Request, caller: JobCaller) -> dict[str, Any]:
    """Deletes a file, unless a batch that is not finished needs it."""
    return jobs_of(request).files.delete(caller.name, file_id)


def _new_file(filename: str, fields: Mapping[str, Sequence[str]]) -> NewFile:
    """What the form says about its file; raises Refused."""
    for name in fields:
        if name not in FIELDS:
            raise Refused(
                f"{name[:80]!r} is no field of a file; known are {', '.join(FIELDS)}", param=name[:80]
            )
    values = {name: texts[-1] for name, texts in fields.items()}
    if "purpose" not in values:
        raise Refused("purpose is missing", "missing_required_parameter", param="purpose")
    seconds = values.get("expires_after[seconds]")
    if seconds is None:
        return NewFile(filename, values["purpose"])
    if not DIGITS.fullmatch(seconds) or values.get("expires_after[anchor]", "created_at") != "created_at":
        raise Refused("expires_after must have anchor=created_at and whole seconds", param="expires_after")
    return NewFile(filename, values["purpose"], int(seconds))
