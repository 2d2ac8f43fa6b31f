"""Paths that other Whisper services have and people have clients for: a file in, its text out."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from asr.errors import AsrError, InvalidOption
from asr.options import RequestOptions
from asr.render import clean
from gateway.caller import Caller
from gateway.http import documents
from gateway.http.caller import admitted_caller, service_of
from gateway.http.connection import deadline_s, while_connected
from gateway.http.failures import internal_error
from gateway.http.forms import Form, Upload, received_form
from gateway.http.options import language_options
from gateway.http.schemas import BatchResult, BatchResults, ErrorDetail, Text
from gateway.http.streams import LiveEvents, transcript_events
from gateway.service import Service

log = logging.getLogger(__name__)

MAX_BATCH_FILES = 32

router = APIRouter(tags=["plain"])


@dataclass(frozen=True, slots=True)
class _Call:
    """A request that has been read."""

    service: Service
    caller: Caller
    deadline: float
    form: Form
    options: RequestOptions

    async def text_of(self, upload: Upload) -> str:
        async with self.service.run(upload.path, self.options, self.caller, self.deadline) as run:
            await run.finish()
            return clean(run.transcript.text).strip()


@router.post("/transcribe/", responses=documents.errors(), openapi_extra=documents.file_form())
async def transcribe(request: Request, language: str | None = None) -> Text:
    """The text of one file."""
    async with _received(request, language) as call, while_connected(request.receive):
        return Text(text=await call.text_of(call.form.single_upload()))


@router.post(
    "/transcribe_batch/",
    responses=documents.errors(),
    openapi_extra=documents.file_form("files", several=True),
    response_model_exclude_unset=True,
)
async def transcribe_batch(request: Request, language: str | None = None) -> BatchResults:
    """The text of several files, side by side; a file that fails has its error in the text's place."""
    async with _received(request, language, MAX_BATCH_FILES) as call, while_connected(request.receive):
        uploads = call.form.uploads_named("files", "files[]", "file")
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(_result(call, upload)) for upload in uploads]
        return BatchResults(results=[task.result() for task in tasks])


@router.post(
    "/transcribe_stream/",
    responses=documents.errors() | documents.event_response(),
    openapi_extra=documents.file_form(),
    response_class=Response,
)
async def transcribe_stream(request: Request, language: str | None = None) -> Response:
    """The text of one file as it is found: the events of /v1/audio/transcriptions with stream=true."""
    async with AsyncExitStack() as stack:
        call = await stack.enter_async_context(_received(request, language))
        upload = call.form.single_upload()
        return LiveEvents(_events(stack.pop_all(), call, upload))


@asynccontextmanager
async def _received(request: Request, language: str | None, max_files: int = 1) -> AsyncIterator[_Call]:
    service = service_of(request)
    caller = await admitted_caller(request)
    deadline = deadline_s(request, service.settings.admission.default_deadline_s)
    async with received_form(request, service.settings.media.spool_dir, max_files) as form:
        if name := next(iter(form.fields), None):
            raise InvalidOption(
                f"{name[:80]} is not a field here; /v1/audio/transcriptions takes options", param=name[:80]
            )
        yield _Call(service, caller, deadline, form, language_options(language, service, caller))


async def _events(stack: AsyncExitStack, call: _Call, upload: Upload) -> AsyncGenerator[bytes]:
    """A run's events; `stack` holds the upload."""
    options = replace(call.options, stream=True)
    async with stack, call.service.run(upload.path, options, call.caller, call.deadline) as run:
        async for events in transcript_events(run, options):
            yield events


async def _result(call: _Call, upload: Upload) -> BatchResult:
    """One file's line of the answer: whatever befalls it, the others have theirs."""
    try:
        return BatchResult(filename=upload.filename, text=await call.text_of(upload))
    except AsrError as error:
        failure = error
    except Exception:
        log.exception("a file of a batch broke")
        failure = internal_error()
    return BatchResult(filename=upload.filename, error=ErrorDetail.model_validate(failure.body()["error"]))
