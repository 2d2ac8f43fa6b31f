"""Paths that other Whisper services have and people have clients for: a file in, its text out."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from asr.errors import AsrError
from asr.render.formats import clean
from asr.request.options import RequestOptions
from gateway.caller import Caller
from gateway.http.authentication import AdmittedCaller, service_of
from gateway.http.failures import internal_error
from gateway.http.forms import FILE_NAMES, Form, Upload, received_form
from gateway.http.options import language_options
from gateway.http.streams import LiveEvents, transcript_events
from gateway.openapi import documents, examples
from gateway.openapi.schemas import BatchResult, BatchResults, ErrorDetail, LanguageQuery, Text
from gateway.patience import deadline_s, while_connected
from gateway.service import Run, Service

log = logging.getLogger(__name__)

MAX_BATCH_FILES = 32
PlainQuery = Annotated[LanguageQuery, Query()]

router = APIRouter(tags=["plain"])


@dataclass(frozen=True, slots=True)
class _Call:
    """A request that has been read."""

    service: Service
    caller: Caller
    deadline: float
    form: Form
    options: RequestOptions

    def run(self, upload: Upload) -> AbstractAsyncContextManager[Run]:
        return self.service.run(upload.path, self.options, self.caller, self.deadline)

    async def text_of(self, upload: Upload) -> str:
        async with self.run(upload) as run:
            await run.finish()
            return clean(run.transcript.text).strip()


@router.post(
    "/transcribe/",
    responses=documents.errors() | documents.json_response("the text", examples.PLAIN),
    openapi_extra=documents.file_form("/transcribe/?language=en"),
)
async def transcribe(request: Request, caller: AdmittedCaller, query: PlainQuery) -> Text:
    """The text of one file."""
    async with _received(request, caller, query.language) as call, while_connected(request.receive):
        return Text(text=await call.text_of(call.form.single_upload()))


@router.post(
    "/transcribe_batch/",
    responses=documents.errors() | documents.json_response("text or error of each file", examples.BATCH),
    openapi_extra=documents.file_form("/transcribe_batch/", "files", several=True),
    response_model_exclude_unset=True,
)
async def transcribe_batch(request: Request, caller: AdmittedCaller, query: PlainQuery) -> BatchResults:
    """The text of several files, side by side; a file that fails has its error in the text's place."""
    received = _received(request, caller, query.language, MAX_BATCH_FILES)
    async with received as call, while_connected(request.receive):
        uploads = call.form.uploads_named(*FILE_NAMES)
        await call.service.limiter.check_batch(caller, len(uploads))
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(_result(call, upload)) for upload in uploads]
        return BatchResults(results=[task.result() for task in tasks])


@router.post(
    "/transcribe_stream/",
    responses=documents.errors() | documents.event_response(),
    openapi_extra=documents.file_form("/transcribe_stream/"),
    response_class=Response,
)
async def transcribe_stream(request: Request, caller: AdmittedCaller, query: PlainQuery) -> Response:
    """The text of one file as it is found: the events of /v1/audio/transcriptions with stream=true."""
    async with AsyncExitStack() as stack:
        call = await stack.enter_async_context(_received(request, caller, query.language))
        running = call.run(call.form.single_upload())
        return LiveEvents(transcript_events(stack.pop_all(), running, call.options))


@asynccontextmanager
async def _received(
    request: Request, caller: Caller, language: str | None, max_files: int = 1
) -> AsyncIterator[_Call]:
    service = service_of(request)
    deadline = deadline_s(request, service.settings.admission.default_deadline_s)
    async with received_form(request, service.settings.media.spool_dir, max_files) as form:
        form.refuse_fields()
        yield _Call(service, caller, deadline, form, language_options(language, service, caller))


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
