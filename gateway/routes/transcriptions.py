"""OpenAI's audio endpoints: /v1/audio/transcriptions and /v1/audio/translations."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from asr.options import RequestOptions
from gateway.caller import Caller
from gateway.http import documents
from gateway.http.answers import transcript_response
from gateway.http.caller import admitted_caller, service_of
from gateway.http.connection import deadline_s, while_connected
from gateway.http.forms import Form, received_form
from gateway.http.options import transcription_options, translation_options
from gateway.http.streams import LiveEvents, transcript_events
from gateway.service import Service

router = APIRouter(prefix="/v1/audio", tags=["audio"])

ReadOptions = Callable[[Form, Service, Caller], RequestOptions]


@router.post(
    "/transcriptions",
    responses=documents.transcript_responses(),
    openapi_extra=documents.transcription_form(),
    response_class=Response,
)
async def create_transcription(request: Request) -> Response:
    """The text of an audio file, in its own language."""
    return await transcribed(request, transcription_options)


@router.post(
    "/translations",
    responses=documents.transcript_responses(),
    openapi_extra=documents.translation_form(),
    response_class=Response,
)
async def create_translation(request: Request) -> Response:
    """The text of an audio file, in English."""
    return await transcribed(request, translation_options)


async def transcribed(request: Request, read_options: ReadOptions) -> Response:
    """The answer to a form with one file, as its options ask for it: whole, or as events."""
    service = service_of(request)
    caller = await admitted_caller(request)
    deadline = deadline_s(request, service.settings.admission.default_deadline_s)
    async with AsyncExitStack() as stack:
        form = await stack.enter_async_context(received_form(request, service.settings.media.spool_dir))
        options = read_options(form, service, caller)
        upload = form.single_upload().path
        if options.stream:
            return LiveEvents(_events(stack.pop_all(), service, upload, options, caller, deadline))
        async with while_connected(request.receive), service.run(upload, options, caller, deadline) as run:
            await run.finish()
            return await transcript_response(run, options)


async def _events(
    stack: AsyncExitStack,
    service: Service,
    upload: Path,
    options: RequestOptions,
    caller: Caller,
    deadline: float,
) -> AsyncGenerator[bytes]:
    """A run's events; `stack` holds the upload."""
    async with stack, service.run(upload, options, caller, deadline) as run:
        async for events in transcript_events(run, options):
            yield events
