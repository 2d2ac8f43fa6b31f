"""The text of a whole turn: what the HTTP door answers for the same samples."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from asr.audio.prepare import prepared_from
from asr.constants import SAMPLE_RATE
from asr.render.formats import render
from asr.schema import Audio, MediaSource, Samples
from asr.sessions import open_session
from gateway.caller import Caller
from gateway.dispatch.driver import run_session
from gateway.observe.record import current_record
from gateway.patience import within
from gateway.service import ModelRequest, Service, off_loop

SOURCE = MediaSource("stream", "pcm", SAMPLE_RATE, 1)


async def transcribed(
    samples: Samples, request: ModelRequest, service: Service, caller: Caller
) -> dict[str, Any]:
    """The HTTP door's answer in JSON; raises AsrError."""
    audio = Audio(samples, SOURCE)
    model, options = request.model, request.options
    record = current_record()
    record.audio_s = (record.audio_s or 0.0) + audio.duration_s
    record.model = model.name
    await service.limiter.check_audio(caller, audio.duration_s)
    async with within(service.settings.admission.default_deadline_s):
        prepared = await asyncio.to_thread(prepared_from, audio, options, model.spec.n_mels)
        session = await off_loop(audio.duration_s, open_session, prepared, options, model.spec)
        async with service.fleet.using(model):
            with model.dispatcher.ticket(caller, audio.duration_s, "final") as ticket:
                await run_session(session, ticket)
    if session.error is not None:
        raise session.error
    transcript = session.transcript()
    record.count(transcript)
    body, _ = await off_loop(audio.duration_s, render, transcript, options)
    answer: dict[str, Any] = json.loads(body)
    return answer
