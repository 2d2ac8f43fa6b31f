"""A finished job → its reply, and what is remembered of it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from adapter.jobs import Job
from adapter.records import RequestRecord
from adapter.replies import EVENT_STREAM_TYPE, JSON_TYPE, Reply, json_reply
from asr.errors import EngineFailure
from asr.render import formats
from asr.schema import DecodeStats, Hypothesis
from asr.sessions import WindowSession
from asr.wire import messages

MAX_PARAM_CHARS = 100
ENGINE_STAGES = ("features", "encode", "decode", "words")


def answer(job: Job, model: Mapping[str, Any]) -> Reply:
    """The reply of a job without error; `model` is what the `model` path tells."""
    if job.kind == "healthz":
        return json_reply({"status": "ok", "model": model["name"]})
    if job.kind == "model":
        return json_reply(model)
    if (hypothesis := _hypothesis(job)) is not None:
        return Reply(200, JSON_TYPE, messages.encode_hypothesis(hypothesis))
    session, options = job.file_session, job.options
    if session is None or options is None:
        raise EngineFailure("the request was read but never decoded")
    with job.timed("render"):
        if job.events is not None:
            return Reply(200, EVENT_STREAM_TYPE, job.events.last(session))
        body, content_type = formats.render(session.transcript(), options)
    return Reply(200, content_type, body)


def record(job: Job, reply: Reply, *, with_text: bool) -> RequestRecord:
    """What the log and the metrics keep of the job; its text only if `with_text`."""
    options, source, error, hypothesis = job.options, job.source, job.error, _hypothesis(job)
    session = job.file_session
    transcript = session.transcript() if session is not None and error is None else None
    if transcript is not None:
        stats, language = transcript.stats, transcript.language
    elif hypothesis is not None:
        stats, language = DecodeStats(windows=1, seconds=hypothesis.seconds), hypothesis.language
    else:
        stats, language = DecodeStats(), None
    engine_seconds = {stage: getattr(stats.seconds, stage) for stage in ENGINE_STAGES}
    return RequestRecord(
        request_id=job.request_id,
        kind=job.kind,
        status=error.status if error is not None else reply.status,
        error_code=error.code if error is not None else None,
        error_param=error.param[:MAX_PARAM_CHARS] if error is not None and error.param else None,
        upload_bytes=len(job.request.body) if job.request is not None else 0,
        container=source.container if source else None,
        codec=source.codec if source else None,
        sample_rate=source.sample_rate if source else None,
        channels=source.channels if source else None,
        bad_packets=source.bad_packets if source else 0,
        audio_s=job.audio_s,
        language=language,
        task=options.decoding.task if options else None,
        response_format=options.response_format if options else None,
        stream=options.stream if options else False,
        long_form=options.long_form if options else None,
        windows=stats.windows,
        silent_windows=stats.silent_windows,
        fallbacks=stats.fallbacks,
        queue_s=job.queue_s,
        wall_s=time.monotonic() - job.started,
        first_segment_s=job.first_segment_s,
        stage_seconds=tuple((job.stage_seconds | engine_seconds).items()),
        text=transcript.text if transcript is not None and with_text else None,
    )


def _hypothesis(job: Job) -> Hypothesis | None:
    return job.session.hypothesis if isinstance(job.session, WindowSession) else None
