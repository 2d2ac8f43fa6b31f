"""A request's body, a form, JSON or bare audio → its fields and its upload as a file on disk."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.requests import Request

from asr.request.bodies import OPTIONS_HEADER, header_options
from asr.request.values import without_blanks
from gateway.http.forms import received_form, refuse_encoding
from gateway.http.json_body import JsonBody
from gateway.http.options import refuse_query
from gateway.http.spool import Spool

AUDIO_TYPES = ("audio/", "video/", "application/octet-stream", "application/ogg")


@dataclass(frozen=True, slots=True)
class Received:
    """An upload and the fields that came with it."""

    fields: Mapping[str, Any]  # texts of a form or an address, or JSON values; a repeated field is a list
    upload: Path  # gone when the request is closed


@asynccontextmanager
async def received_audio(request: Request, spool_dir: Path | None) -> AsyncIterator[Received]:
    """The request's audio and fields. A field of the body wins over one of the header X-Whisper-Options.

    Beside bare audio, the address may hold fields. Raises UnsupportedMedia for another content type, and the
    errors of the body and of reading it.
    """
    options = header_options(request.headers.get(OPTIONS_HEADER, ""))
    kind = _content_type(request)
    if kind == "application/json" or kind.endswith("+json"):
        reading = _json_body(request, spool_dir)
    elif kind.startswith(AUDIO_TYPES):
        reading = _bare_audio(request, spool_dir)
    else:
        reading = _form(request, spool_dir)
    async with reading as received:
        yield Received({**options, **without_blanks(received.fields)}, received.upload)


@asynccontextmanager
async def _form(request: Request, spool_dir: Path | None) -> AsyncIterator[Received]:
    refuse_query(request)
    async with received_form(request, spool_dir) as form:
        yield Received(form.fields, form.single_upload().path)


@asynccontextmanager
async def _json_body(request: Request, spool_dir: Path | None) -> AsyncIterator[Received]:
    refuse_query(request)
    refuse_encoding(request, "body")
    body = JsonBody()
    with closing(Spool(spool_dir)) as spool:
        async with aclosing(request.stream()) as stream:
            async for piece in stream:
                await spool.write(body.feed(piece))
        fields, audio = body.end()
        await spool.write(audio)
        spool.flush()
        yield Received(fields, spool.path)


@asynccontextmanager
async def _bare_audio(request: Request, spool_dir: Path | None) -> AsyncIterator[Received]:
    refuse_encoding(request, "body")
    fields = {name: request.query_params.getlist(name) for name in request.query_params}
    with closing(Spool(spool_dir)) as spool:
        async with aclosing(request.stream()) as stream:
            async for piece in stream:
                await spool.write(piece)
        spool.flush()
        yield Received(fields, spool.path)


def _content_type(request: Request) -> str:
    return request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
