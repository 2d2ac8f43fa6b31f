"""Rows of a batch → jobs with open sessions, several uploads decoded side by side."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from typing import Any

from adapter.jobs import Job, failing_alone
from adapter.rows import Request, kind_of, read_row, text_header
from asr.audio import media
from asr.audio.prepare import prepared_from
from asr.config import Limits
from asr.constants import FRAMES_PER_SECOND
from asr.engine import ModelSpec
from asr.errors import Overloaded
from asr.request import fields
from asr.request.families import check_suits
from asr.sessions import WindowSession, open_session
from asr.wire import messages

MAX_QUEUE_SECONDS = 3600.0  # a larger difference to X-Request-Start is a clock, not a queue


@dataclass(frozen=True, slots=True)
class IncomingRow:
    """One row as TorchServe hands it over."""

    index: int
    request_id: str
    row: Any
    headers: Mapping[str, Any]


class Intake:
    """Reads requests; decodes media and finds speech in a small pool of threads (PyAV and the VAD release the
    GIL), so that one slow upload does not hold up its neighbours."""

    def __init__(self, limits: Limits, spec: ModelSpec) -> None:
        self._limits = limits
        self._spec = spec
        self._pool = ThreadPoolExecutor(limits.media_threads, thread_name_prefix="media")

    def open_jobs(self, arrivals: Sequence[IncomingRow], deadline: float) -> list[Job]:
        """One job per arrival, in order; one not ready at `deadline` (time.monotonic) fails as overloaded.

        Only files go to the pool: reading a window takes 3 ms, and it would wait behind them there.
        """
        started = time.monotonic()
        files = [arrival for arrival in arrivals if kind_of(arrival.headers) == "file"]
        futures = {file.index: self._pool.submit(self._open, file, started) for file in files}
        jobs = {other.index: self._open(other, started) for other in arrivals if other.index not in futures}
        for file in files:
            jobs[file.index] = self._collect(file, futures[file.index], started, deadline)
        return [jobs[arrival.index] for arrival in arrivals]

    def _collect(self, arrival: IncomingRow, future: Future[Job], started: float, deadline: float) -> Job:
        try:
            return future.result(timeout=max(0.0, deadline - time.monotonic()))
        except FutureTimeoutError:  # builtin only from Python 3.11 on
            future.cancel()
            error = Overloaded(
                f"the upload was not decoded within {self._limits.request_deadline_s:g} s; try again later"
            )
            return Job(arrival.index, arrival.request_id, started, error=error)

    def _open(self, arrival: IncomingRow, started: float) -> Job:
        job = Job(arrival.index, arrival.request_id, started)
        with failing_alone(job, "reading the request"):
            job.queue_s = queue_seconds(arrival.headers)
            job.request = read_row(arrival.row, arrival.headers)
            if job.request.kind == "file":
                self._open_file(job, job.request)
            elif job.request.kind == "windows":
                window = messages.decode_window(job.request.body)
                job.audio_s = window.num_frames / FRAMES_PER_SECOND
                job.session = WindowSession(window)
        return job

    def _open_file(self, job: Job, request: Request) -> None:
        spec = self._spec
        job.options = fields.parse_options(
            request.fields, languages=spec.language_codes, max_prompt_chars=self._limits.max_prompt_chars
        )
        check_suits(job.options, spec)
        with job.stages.stage("media"):
            audio = media.decode(request.body, self._limits)
        job.source, job.audio_s = audio.source, audio.duration_s
        with job.stages.stage("vad"):  # or, for sequential mode, the utterance's log-Mel maximum
            prepared = prepared_from(audio, job.options, spec.n_mels)
            job.session = open_session(prepared, job.options, spec)


def queue_seconds(headers: Mapping[str, Any]) -> float | None:
    """Seconds since the caller's `X-Request-Start` (seconds since 1970, or `t=…`); None if absent or absurd.

    TorchServe does not tell a worker when a request arrived; its queue metric has the sum of all waits.
    """
    text = text_header(headers, "x-request-start").removeprefix("t=")
    try:
        seconds = time.time() - float(text)
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) and 0 <= seconds < MAX_QUEUE_SECONDS else None
