"""/asr and /detect-language, as the whisper-asr-webservice has them: what Bazarr and others call."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from asr.languages import LANGUAGES
from asr.sessions import DetectionSession, open_detection
from gateway.caller import Caller
from gateway.http.authentication import AdmittedCaller, service_of
from gateway.http.forms import received_form
from gateway.http.options import language_options, webservice_options
from gateway.http.raw_pcm import as_wav
from gateway.http.webservice_answers import rendered
from gateway.openapi import documents, examples
from gateway.openapi.schemas import DetectedLanguage, DetectionQuery, WebserviceQuery
from gateway.patience import deadline_s, while_connected
from gateway.service import Service, off_loop

FILE = "audio_file"
ENGINE = "openai_whisper"  # of those that the webservice knows, the one whose results these are

router = APIRouter(tags=["plain"])


@dataclass(frozen=True, slots=True)
class _Call:
    """A request that has been read."""

    service: Service
    deadline: float
    filename: str
    upload: Path


@router.post(
    "/asr",
    responses=documents.errors() | documents.webservice_response(),
    openapi_extra=documents.file_form("/asr?output=srt", FILE),
    response_class=Response,
)
async def asr(
    request: Request, caller: AdmittedCaller, query: Annotated[WebserviceQuery, Query()]
) -> Response:
    """The text of one file. Query parameters beside these are not looked at, as the webservice does it."""
    async with _received(request, encode=query.encode) as call:
        options = webservice_options(query, call.service, caller)
        run_of = call.service.run(call.upload, options, caller, call.deadline)
        async with while_connected(request.receive), run_of as run:
            await run.finish()
            audio_s = run.prepared.audio.duration_s
            body = await off_loop(audio_s, rendered, run.transcript, options, query.output)
    name = f"{quote(call.filename or FILE)}.{query.output}"
    headers = {"Asr-Engine": ENGINE, "Content-Disposition": f'attachment; filename="{name}"'}
    return Response(body, media_type="text/plain", headers=headers)


@router.post(
    "/detect-language",
    responses=documents.errors() | documents.json_response("the language", examples.DETECTED_LANGUAGE),
    openapi_extra=documents.file_form("/detect-language", FILE),
)
async def detect_language(
    request: Request, caller: AdmittedCaller, query: Annotated[DetectionQuery, Query()]
) -> DetectedLanguage:
    """The language of one file, by up to 30 s of its speech."""
    async with _received(request, encode=query.encode) as call, while_connected(request.receive):
        code, confidence = await detected_language(call.service, call.upload, caller, call.deadline)
    return DetectedLanguage(detected_language=LANGUAGES[code], language_code=code, confidence=confidence)


async def detected_language(
    service: Service, upload: Path, caller: Caller, deadline: float
) -> tuple[str, float]:
    """Whisper's code of the upload's language and its probability, 0..1."""
    options = language_options(None, service, caller)
    async with service.run(upload, options, caller, deadline, open_detection) as run:
        await run.finish()
        assert isinstance(run.session, DetectionSession)
        return run.session.language, run.session.confidence


@asynccontextmanager
async def _received(request: Request, *, encode: bool) -> AsyncIterator[_Call]:
    """The form's upload; where it is not to be "encoded", it is bare PCM."""
    service = service_of(request)
    deadline = deadline_s(request, service.settings.admission.default_deadline_s)
    spool_dir = service.settings.media.spool_dir
    async with received_form(request, spool_dir) as form:
        upload = form.uploads_named(FILE)[0]  # the form takes one file
        if encode:
            yield _Call(service, deadline, upload.filename, upload.path)
            return
        async with as_wav(upload.path, spool_dir) as path:
            yield _Call(service, deadline, upload.filename, path)
