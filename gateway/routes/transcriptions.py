"""OpenAI's audio endpoints: /v1/audio/transcriptions and /v1/audio/translations."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from asr.errors import InvalidOption
from gateway.caller import Caller
from gateway.http.authentication import admitted_caller, service_of
from gateway.http.bodies import Received, received_audio
from gateway.http.earlier_answers import Answer, EarlierAnswers, Name, digest_of
from gateway.http.forms import announced_bytes
from gateway.http.options import transcription_request, translation_request
from gateway.http.transcripts import LiveEvents, transcript_events, transcript_response
from gateway.jobs.replies import Asked
from gateway.jobs.requests import (
    REPLAYED_HEADER,
    RESPOND_ASYNC,
    asked,
    jobs_of,
    prefers_async,
    replied,
)
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
    who = asked(request, caller)
    deadline = deadline_s(request, service.settings.admission.default_deadline_s)
    async with AsyncExitStack() as stack:
        with service.coming_upload(announced_bytes(request), RECEIVING_S):
            reading = received_audio(request, service.settings.media.spool_dir)
            received = await stack.enter_async_context(reading)
        async with within(deadline):
            model_request = await service.after_loading(lambda: read_fields(received.fields, service, caller))
        options = model_request.options
        running = service.run(received.upload, model_request, caller, deadline)
        if options.stream:  # as events come, not once there is an answer: with an Idempotency-Key too
            return LiveEvents(transcript_events(stack.pop_all(), running, options))

        async def whole() -> Response:
            async with running as run:
                await run.finish()
                return await transcript_response(run, options)

        async with while_connected(request.receive):
            if who.idempotency_key is None:
                return await whole()
            async with within(deadline):
                return await once(request, who, received, whole)


async def once(
    request: Request, who: Asked, received: Received, make: Callable[[], Awaitable[Response]]
) -> Response:
    """The answer that the request had before, or that `make` gives; raises KeyReused."""
    assert who.idempotency_key is not None
    answers: EarlierAnswers = request.app.state.earlier_answers
    digest = await asyncio.to_thread(digest_of, received.fields, received.upload)

    async def answer() -> Answer:
        response = await make()
        return Answer(bytes(response.body), response.headers["Content-Type"])

    made, is_replayed = await answers.once(Name(who.key, who.path, who.idempotency_key), digest, answer)
    replayed = {REPLAYED_HEADER: "true"} if is_replayed else {}
    return Response(made.body, headers={"Content-Type": made.content_type, **replayed})
