"""The record of one finished request, for the metrics, and its line in the log."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from typing import Any

from adapter.jobs import Job
from adapter.json_log import log_event
from adapter.replies import Reply
from adapter.rss import device_memory_bytes, host_memory_bytes
from asr.schema import DecodeStats

MAX_PARAM_CHARS = 100
ENGINE_STAGES = ("features", "encode", "decode", "words")


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """One request's cost and outcome. Seconds are wall-clock; the engine's are its windows' shares."""

    request_id: str
    kind: str  # "file" | "windows" | "healthz" | "model" | "unread"
    status: int
    error_code: str | None = None
    error_param: str | None = None
    upload_bytes: int = 0

    container: str | None = None
    codec: str | None = None
    sample_rate: int | None = None  # Hz, as found
    channels: int | None = None
    bad_packets: int = 0
    audio_s: float = 0.0

    language: str | None = None
    task: str | None = None
    response_format: str | None = None
    stream: bool = False
    long_form: str | None = None
    windows: int = 0  # decoded, every temperature counted
    silent_windows: int = 0
    fallbacks: tuple[tuple[str, int], ...] = ()

    queue_s: float | None = None  # before it reached the worker; None unless the caller sent X-Request-Start
    wall_s: float = 0.0  # from its arrival at the worker to its reply
    first_segment_s: float | None = None  # to a stream's first event, if that came before its end
    stage_seconds: tuple[tuple[str, float], ...] = ()  # media, vad, features, encode, decode, words, render
    text: str | None = None  # only under log_text

    @property
    def rtf(self) -> float | None:
        """Wall seconds per second of audio; None where there was no audio."""
        return self.wall_s / self.audio_s if self.audio_s > 0 else None


def record(job: Job, reply: Reply, *, with_text: bool) -> RequestRecord:
    """The job's record; with its text only if `with_text`."""
    options, source, error, session = job.options, job.source, job.error, job.file_session
    transcript = session.transcript() if session is not None and error is None else None
    if transcript is not None:
        stats, language = transcript.stats, transcript.language
    elif (hypothesis := job.hypothesis) is not None:
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
        stage_seconds=tuple((job.stages | engine_seconds).items()),
        text=transcript.text if transcript is not None and with_text else None,
    )


def log_request(record: RequestRecord) -> None:
    """Writes the line of one finished request, without the keys that do not apply to it.

    A health check that passed has no line: the gateway sends one every five seconds.
    """
    if record.kind == "healthz" and record.status == 200:
        return
    values = dataclasses.asdict(record)
    values["fallbacks"] = dict(record.fallbacks)
    values["stage_seconds"] = {stage: round(seconds, 4) for stage, seconds in record.stage_seconds}
    values["rtf"] = record.rtf
    values["device_memory_bytes"] = device_memory_bytes()  # after the batch that the request was in
    values["host_memory_bytes"] = host_memory_bytes()
    rounded: dict[str, Any] = {
        key: round(value, 4) if isinstance(value, float) else value for key, value in values.items()
    }
    log_event("request", **{key: value for key, value in rounded.items() if value is not None})
