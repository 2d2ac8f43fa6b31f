"""/visualize/: an upload as a picture of its sound and its segments."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from gateway.http.authentication import AdmittedCaller
from gateway.http.calls import received_call
from gateway.http.options import plain_request
from gateway.openapi import documents
from gateway.openapi.schemas import PictureQuery
from gateway.patience import while_connected
from gateway.run import Run
from gateway.visualize.layout import picture_of
from gateway.visualize.png import png
from gateway.visualize.svg import svg

router = APIRouter(tags=["plain"])

SHAPES = {"png": (png, "image/png"), "svg": (svg, "image/svg+xml")}
# an SVG is a document: it may show its own image and nothing else
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; sandbox"
IMAGES: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {
            content_type: {"schema": {"type": "string", "format": "binary"}}
            for _, content_type in SHAPES.values()
        },
        "description": "waveform, segments, log-Mel spectrogram; an SVG has every text, a PNG English ones",
    }
}


@router.post(
    "/visualize/",
    responses=documents.errors() | IMAGES,
    openapi_extra=documents.file_form("/visualize/?format=svg"),
    response_class=Response,
)
async def visualize(
    request: Request, caller: AdmittedCaller, query: Annotated[PictureQuery, Query()]
) -> Response:
    """A picture of one file: waveform, segments and log-Mel spectrogram over the same time axis."""
    async with received_call(request, caller) as call:
        model_request = await plain_request(call, query.language)
        upload = call.form.single_upload().path
        async with while_connected(request.receive), call.run(upload, model_request) as run:
            await run.finish()
            n_mels = model_request.model.spec.n_mels
            body = await asyncio.to_thread(_drawn, run, query.format, n_mels)
    return Response(body, media_type=SHAPES[query.format][1], headers={"Content-Security-Policy": POLICY})


def _drawn(run: Run, format: str, n_mels: int) -> bytes:
    shape, _ = SHAPES[format]
    return shape(picture_of(run.prepared.audio.samples, run.transcript, n_mels))
