"""A finished run → the answer in the format that was asked for."""

from __future__ import annotations

from starlette.responses import Response

from asr.render.formats import render
from asr.request.options import RequestOptions
from gateway.observe.record import current_record
from gateway.service import Run, off_loop


async def transcript_response(run: Run, options: RequestOptions) -> Response:
    """The transcript of a run that is done; one of hours of words is rendered beside the event loop."""
    with current_record().stage("render"):
        audio_s = run.prepared.audio.duration_s
        body, content_type = await off_loop(audio_s, render, run.transcript, options)
    return Response(body, headers={"Content-Type": content_type})
