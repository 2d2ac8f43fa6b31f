"""A finished run → the answer in the format that was asked for."""

from __future__ import annotations

import asyncio

from starlette.responses import Response

from asr.options import RequestOptions
from asr.render import render
from gateway.observe.record import current_record
from gateway.service import Run


async def transcript_response(run: Run, options: RequestOptions) -> Response:
    """The transcript of a run that is done; rendered beside the event loop, as it may be hours of words."""
    with current_record().stage("render"):
        body, content_type = await asyncio.to_thread(render, run.transcript, options)
    return Response(body, headers={"Content-Type": content_type})
