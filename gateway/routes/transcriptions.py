"""OpenAI's audio endpoints: /v1/audio/transcriptions and /v1/audio/translations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from asr.errors import InvalidOption
from gateway.caller import Caller
from gateway.http.authentication import admitted_caller, service_of
from gateway.http.bodies import received_audio
from gateway.http.forms import announced_bytes
from gateway.http.options import transcription_request, translation_request
from gateway.http.transcripts import LiveEvents, transcript_events, transcript_response
from gateway.jobs.requests import RESPOND_ASYNC, asked, jobs_of, prefers_async, replied
from gateway.jobs.single import submitted
from gateway.openapi import documents
from gateway.patience import deadline_s, while_connected, within
from gateway.service import RECEIVING_S, ModelRequest, Service

router = APIRouter(prefix="/v1/audio", tags=["audio"])

ReadFields = Callable[[Mapping[str, Any], Service, Caller], ModelRequest]


@router.post(
    "/transcriptions",
    responses=documents.transcript_responses(),
    openapi_extra=documents.transcription_form(),
    response_class=Response,
)
async def create_transcription(request: Request) -> Response:
    """The text of an audio file, in its own language."""
    return await answered(request, transcription_request)


@router.post(
    "/translations",
    responses=documents.transcript_responses(),
    openapi_extra=documents.translation_form(),
    response_class=Response,
)
async def create_translation(request: Request) -> Response:
    """The text of an audio file, in English."""
    return await answered(request, translation_request)


async def answered(request: Request, read_fields: ReadFields) -> Response:
    """The answer, or a batch that will have it if the client prefers that (RFC 7240) and there are jobs."""
    if prefers_async(request):
        return await deferred(request, read_fields)
    return await transcribed(request, read_fields)


async def deferred(request: Request, read_fields: ReadFields) -> Response:
    """A batch of this one request; its fields are checked before."""
    jobs = jobs_of(request)
    caller = await admitted_caller(request)
    async with received_audio(request, jobs.incoming) as received:
        if read_fields(received.fields, jobs.service, caller).options.stream:
            raise InvalidOption("stream is true, must be left out with Prefer: respond-async", param="stream")
        path = request.url.path
        reply = await submitted(jobs, asked(request, caller), received.upload, received.fields, path)
    headers = {
        "Location": f"/v1/batches/{reply.body['id']}",
        "Preference-Applied": RESPOND_ASYNC,
        "Retry-After": "1",
    }
    return replied(reply, 202, headers)


async def transcribed(request: Request, read_fields: ReadFields) -> Response:
    """The answer to a request with one file, as its options ask for it: whole, or as events."""
    service = service_of(request)
    caller = await admitted_caller(request)
    deadline = deadline_s(request, service.settings.admission.default_deadline_s)
    async with AsyncExitStack() as stack:
        with service.coming_upload(announced_bytes(request), RECEIVING_S):
            reading = received_audio(request, service.settings.media.spool_dir)
            received = await stack.enter_async_context(reading)
        async with within(deadline):
            model_request = await service.after_loading(lambda: read_fields(received.fields, service, caller))
        options = model_request.options
        running = service.run(received.upload, model_request, caller, deadline)
        if options.stream:
            return LiveEvents(transcript_events(stack.pop_all(), running, options))
        async with while_connected(request.receive), running as run:
            await run.finish()
            return await transcript_response(run, options)
