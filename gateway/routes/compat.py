"""Paths of other Whisper services, for their clients: a file in, its text out."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from asr.errors import AsrError
from asr.render.formats import clean
from gateway.http.authentication import AdmittedCaller
from gateway.http.calls import Call, received_call
from gateway.http.failures import internal_error
from gateway.http.forms import FILE_NAMES, Upload
from gateway.http.options import plain_request
from gateway.http.transcripts import LiveEvents, transcript_events
from gateway.openapi import documents, examples
from gateway.openapi.schemas import BatchResult, BatchResults, ErrorDetail, LanguageQuery, Text
from gateway.patience import while_connected
from gateway.service import ModelRequest

log = logging.getLogger(__name__)

MAX_BATCH_FILES = 32
PlainQuery = Annotated[LanguageQuery, Query()]

router = APIRouter(tags=["plain"])


@router.post(
    "/transcribe/",
    responses=documents.errors() | documents.json_response("the text", examples.PLAIN),
    openapi_extra=documents.file_form("/transcribe/?language=en"),
)
async def transcribe(request: Request, caller: AdmittedCaller, query: PlainQuery) -> Text:
    """The text of one file."""
    async with received_call(request, caller) as call, while_connected(request.receive):
        model_request = await plain_request(call, query.language)
        return Text(text=await _text(call, call.form.single_upload(), model_request))


@router.post(
    "/transcribe_batch/",
    responses=documents.errors() | documents.json_response("text or error of each file", examples.BATCH),
    openapi_extra=documents.file_form("/transcribe_batch/", "files", several=True),
    response_model_exclude_unset=True,
)
async def transcribe_batch(request: Request, caller: AdmittedCaller, query: PlainQuery) -> BatchResults:
    """The text of several files, side by side; a file that fails has its error in the text's place."""
    received = received_call(request, caller, MAX_BATCH_FILES)
    async with received as call, while_connected(request.receive):
        model_request = await plain_request(call, query.language)
        uploads = call.form.uploads_named(*FILE_NAMES)
        await call.service.limiter.check_batch(caller, len(uploads))
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(_result(call, upload, model_request)) for upload in uploads]
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
        call = await stack.enter_async_context(received_call(request, caller))
        model_request = await plain_request(call, query.language)
        running = call.run(call.form.single_upload().path, model_request)
        return LiveEvents(transcript_events(stack.pop_all(), running, model_request.options))


async def _text(call: Call, upload: Upload, model_request: ModelRequest) -> str:
    async with call.run(upload.path, model_request) as run:
        await run.finish()
        return clean(run.transcript.text).strip()


async def _result(call: Call, upload: Upload, model_request: ModelRequest) -> BatchResult:
    """One file's entry in the answer; its failure does not touch the other files."""
    try:
        return BatchResult(filename=upload.filename, text=await _text(call, upload, model_request))
    except AsrError as error:
        failure = error
    except Exception:
        log.exception("a file of a batch broke")
        failure = internal_error()
    return BatchResult(filename=upload.filename, error=ErrorDetail.model_validate(failure.body()["error"]))
