"""One row of a TorchServe batch on its way from bytes to reply."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from adapter.json_log import log_failure
from adapter.replies import EVENT_STREAM_TYPE, Reply, error_reply
from adapter.rows import Request
from asr.errors import AsrError, EngineFailure, Overloaded
from asr.render.events import EventStream
from asr.request.options import RequestOptions
from asr.schema import Hypothesis, MediaSource
from asr.sessions import FileSession, WindowSession
from asr.stage_times import StageTimes

NO_THREAD = "can't start new thread"  # Python's message when there is no memory for a thread's stack


@dataclass(slots=True)
class Job:
    """One row's state: with an error, with a session, or with neither (healthz, model)."""

    index: int  # of the row in its batch
    request_id: str  # TorchServe's own, also the response's x-request-id
    started: float  # time.monotonic() when the worker first saw it
    queue_s: float | None = None
    request: Request | None = None
    options: RequestOptions | None = None
    source: MediaSource | None = None
    audio_s: float = 0.0
    session: FileSession | WindowSession | None = None
    events: EventStream | None = None  # only for stream=true
    error: AsrError | None = None
    is_answered: bool = False  # the client has its whole answer, before the batch has ended
    first_segment_s: float | None = None  # from `started` to the first event of a stream
    stages: StageTimes = field(default_factory=StageTimes)

    @property
    def kind(self) -> str:
        return self.request.kind if self.request is not None else "unread"

    @property
    def file_session(self) -> FileSession | None:
        return None if isinstance(self.session, WindowSession) else self.session

    @property
    def hypothesis(self) -> Hypothesis | None:
        """The hypothesis of a decoded window."""
        return self.session.hypothesis if isinstance(self.session, WindowSession) else None

    def stream_progress(self) -> None:
        """Sends the segments finished since the last call, if this job streams."""
        session = self.file_session
        if self.events is not None and session is not None and session.error is None:
            self.events.advance(session)
            if self.events.started and self.first_segment_s is None:
                self.first_segment_s = time.monotonic() - self.started

    def close(self, cause: Exception | None = None) -> None:
        """Takes over the session's error; a session that has not ended counts as failed by `cause`."""
        if self.session is None or self.error is not None:
            return
        self.error = self.session.error
        if self.error is None and not self.session.done:
            self.error = public_error(cause, self.request_id)

    def refusal(self) -> Reply:
        """The error as a reply, or as the last event of a stream whose status has been sent already."""
        error = self.error or public_error(None, self.request_id)
        if self.events is not None and self.events.started:
            return Reply(200, EVENT_STREAM_TYPE, self.events.failed(error))
        return error_reply(error)


@contextmanager
def failing_alone(job: Job, what: str) -> Iterator[None]:
    """Any exception of the block becomes this job's error, and no other job's."""
    try:
        yield
    except AsrError as error:
        job.error = error
    except Exception as error:
        log_failure(what, request_id=job.request_id)
        job.error = public_error(error, job.request_id)


def public_error(cause: Exception | None, request_id: str) -> AsrError:
    """The error to answer with for an exception that the log has in full."""
    if isinstance(cause, MemoryError) or NO_THREAD in str(cause):
        return Overloaded("the server has no memory left for this request; try again later")
    return EngineFailure(f"internal error; the server's log has it under request {request_id}")
