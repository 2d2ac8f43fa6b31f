"""The record of one request: filled in while the request runs, read once when it ends.

`middleware.RequestContext` makes the record and turns it into a log line and metrics. The code in between
adds what it knows:

    record = current_record()
    record.caller = caller.name
    with record.stage("prepare"):
        …
    record.failed(error)

Outside a request, nobody reads the record.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from asr.errors import AsrError
from asr.schema import Transcript
from asr.stage_times import StageTimes

_current: ContextVar[RequestRecord] = ContextVar("request_record")


@dataclass(slots=True)
class RequestRecord:
    """One request as it is logged. No field holds a client's content but `text`, which is logged only if the
    settings say so."""

    id: str = ""
    method: str = ""
    address: str = ""
    route: str = "other"  # the route's template, never the path
    status: int = 0  # 0: no answer
    caller: str = ""
    audio_s: float | None = None
    language: str | None = None
    model: str | None = None  # that answers: the answer's X-Model
    windows: int = 0
    silent_windows: int = 0
    fallbacks: Counter[str] = field(default_factory=Counter)  # reason → windows tried again for it
    streamed: bool = False
    stages_s: StageTimes = field(default_factory=StageTimes)
    first_event_s: float | None = None  # of a stream
    error_code: str | None = None
    text: str | None = None
    started_at: float = field(default_factory=time.perf_counter)
    seconds: float = 0.0  # set at the end

    def stage(self, name: str) -> AbstractContextManager[None]:
        """Adds the block's time to the stage's seconds."""
        return self.stages_s.stage(name)

    def count(self, transcript: Transcript) -> None:
        """Adds what a finished transcript cost."""
        self.language = transcript.language
        self.windows += transcript.stats.windows
        self.silent_windows += transcript.stats.silent_windows
        self.fallbacks.update(dict(transcript.stats.fallbacks))

    def failed(self, error: AsrError) -> None:
        self.error_code = error.code

    def elapsed_s(self) -> float:
        return time.perf_counter() - self.started_at


def current_record() -> RequestRecord:
    """The record of the request that this task answers."""
    return _current.get(None) or RequestRecord()


@contextmanager
def recorded(record: RequestRecord) -> Iterator[None]:
    """Gives this record to the block and to every task that the block starts."""
    token = _current.set(record)
    try:
        yield
    finally:
        _current.reset(token)
