"""A finished job → its reply."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adapter.jobs import Job
from adapter.replies import EVENT_STREAM_TYPE, JSON_TYPE, Reply, json_reply
from asr.errors import EngineFailure
from asr.render import formats
from asr.wire import messages


def answer(job: Job, model: Mapping[str, Any]) -> Reply:
    """The reply of a job without error; `model` is the answer of the path `model`."""
    if job.kind == "healthz":
        return json_reply({"status": "ok", "model": model["name"]})
    if job.kind == "model":
        return json_reply(model)
    if (hypothesis := job.hypothesis) is not None:
        return Reply(200, JSON_TYPE, messages.encode_hypothesis(hypothesis))
    session, options = job.file_session, job.options
    if session is None or options is None:
        raise EngineFailure("the request was read but never decoded")
    with job.stages.stage("render"):
        if job.events is not None:
            return Reply(200, EVENT_STREAM_TYPE, job.events.last(session))
        body, content_type = formats.render(session.transcript(), options)
    return Reply(200, content_type, body)
