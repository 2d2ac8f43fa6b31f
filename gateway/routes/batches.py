"""OpenAI's batches of transcriptions and translations, and the task of one file."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gateway.http.forms import received_form
from gateway.http.options import language_request
from gateway.http.small_json import received_object
from gateway.job_rows import Page
from gateway.jobs.batches.new_batch import TRANSCRIPTIONS, new_batch
from gateway.jobs.requests import JobCaller, asked, jobs_of, replied
from gateway.jobs.single import outcome, submitted
from gateway.openapi import documents, job_documents
from gateway.openapi.schemas import LanguageQuery

router = APIRouter(prefix="/v1/batches", tags=["batches"])
tasks = APIRouter(prefix="/transcribe_async", tags=["batches"])


@router.post(
    "",
    responses=documents.errors(400, 401, 429, 503) | job_documents.batch_response(),
    openapi_extra=job_documents.batch_body(),
)
async def create_batch(request: Request, caller: JobCaller) -> Response:
    """Has the requests in a file answered, each as the endpoint would."""
    jobs = jobs_of(request)
    new = new_batch(await received_object(request))
    if new.webhook_url is not None:
        await jobs.check_webhook_url(new.webhook_url)
    return replied(await asyncio.to_thread(jobs.batches.create, asked(request, caller), new))


@router.get("", responses=documents.errors(400, 401, 503) | job_documents.list_response("batches"))
def list_batches(
    request: Request,
    caller: JobCaller,
    after: str | None = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> dict[str, Any]:
    """The batches of this key, the newest first."""
    return jobs_of(request).batches.list(caller.name, Page(after, limit))


@router.get("/{batch_id}", responses=documents.errors(401, 404, 503) | job_documents.batch_response())
def retrieve_batch(batch_id: str, request: Request, caller: JobCaller) -> dict[str, Any]:
    """How far a batch is."""
    return jobs_of(request).batches.get(caller.name, batch_id)


@router.post("/{batch_id}/cancel", responses=documents.errors(401, 404, 503) | job_documents.batch_response())
async def cancel_batch(batch_id: str, request: Request, caller: JobCaller) -> dict[str, Any]:
    """Stops a batch; what is done stays."""
    return await asyncio.to_thread(jobs_of(request).batches.cancel, caller.name, batch_id)


@tasks.post(
    "/",
    status_code=202,
    responses=documents.errors(400, 401, 404, 408, 413, 415, 429, 503) | job_documents.task_response(202),
    openapi_extra=documents.file_form("/transcribe_async/"),
)
async def transcribe_async(
    request: Request, caller: JobCaller, query: Annotated[LanguageQuery, Query()]
) -> Response:
    """Takes one file in and answers at once; the task has its text later."""
    jobs = jobs_of(request)
    async with received_form(request, jobs.incoming) as form:
        form.refuse_fields()
        language_request(query.language, jobs.service, caller)
        fields = {} if query.language is None else {"language": query.language}
        path = form.single_upload().path
        reply = await submitted(jobs, asked(request, caller), path, fields, TRANSCRIPTIONS)
    task = {"task_id": reply.body["id"], "status": reply.body["status"], "result": None, "error": None}
    return JSONResponse(task, 202, headers={"Location": f"{request.url.path}{task['task_id']}"})


@tasks.get("/{task_id}", responses=documents.errors(401, 404, 503) | job_documents.task_response(200))
async def retrieve_task(task_id: str, request: Request, caller: JobCaller) -> dict[str, Any]:
    """The task's status, and its result once there is one."""
    return await outcome(jobs_of(request), caller.name, task_id)
