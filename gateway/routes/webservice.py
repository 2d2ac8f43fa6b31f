"""/asr and /detect-language of the whisper-asr-webservice, which Bazarr and others call."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from asr.languages import LANGUAGES
from asr.sessions import DetectionSession, open_detection
from gateway.caller import Caller
from gateway.http.authentication import AdmittedCaller
from gateway.http.calls import Call, received_call
from gateway.http.forms import Upload
from gateway.http.options import language_request, webservice_request
from gateway.http.raw_pcm import as_wav
from gateway.http.webservice_answers import rendered
from gateway.openapi import documents, examples
from gateway.openapi.schemas import DetectedLanguage, DetectionQuery, WebserviceQuery
from gateway.patience import while_connected
from gateway.service import off_loop

FILE = "audio_file"
ENGINE = "openai_whisper"  # the engine of the webservice whose results these equal

router = APIRouter(tags=["plain"])


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
    async with _received(request, caller, encode=query.encode) as (call, upload):
        model_request = await call.chosen(partial(webservice_request, query, call.service, caller))
        async with while_connected(request.receive), call.run(upload.path, model_request) as run:
            await run.finish()
            audio_s = run.prepared.audio.duration_s
            options = model_request.options
            body = await off_loop(audio_s, rendered, run.transcript, options, query.output)
    name = f"{quote(upload.filename or FILE)}.{query.output}"
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
    received = _received(request, caller, encode=query.encode)
    async with received as (call, upload), while_connected(request.receive):
        code, confidence = await _detected_language(call, upload.path)
    return DetectedLanguage(detected_language=LANGUAGES[code], language_code=code, confidence=confidence)


async def _detected_language(call: Call, upload: Path) -> tuple[str, float]:
    """Whisper's code of the upload's language and its probability, 0..1."""
    model_request = language_request(None, call.service, call.caller)
    async with call.run(upload, model_request, open_detection) as run:
        await run.finish()
        assert isinstance(run.session, DetectionSession)
        return run.session.language, run.session.confidence


@asynccontextmanager
async def _received(request: Request, caller: Caller, *, encode: bool) -> AsyncIterator[tuple[Call, Upload]]:
    """The call and its upload. `encode=false` says that the upload is bare PCM."""
    async with received_call(request, caller) as call:
        upload = call.form.uploads_named(FILE)[0]  # the form takes one file
        if encode:
            yield call, upload
            return
        async with as_wav(upload.path, call.service.settings.media.spool_dir) as path:
            yield call, replace(upload, path=path)
