"""Requests sent by threads, each at its due time or when a thread is free, and the outcome of each.

Closed loop: jobs without a due time; a thread sends its next job when its last is answered.
Open loop: jobs with due times. A request's latency counts from the time it was due, so that one stalled
answer is seen in all requests it held up ("coordinated omission", Gil Tene, "How NOT to Measure Latency").
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from queue import SimpleQueue

from whisper_client.client import Reply, refusal_message
from whisper_client.errors import ClientError

NO_TRANSCRIPT = "no transcript"


@dataclass(frozen=True, slots=True)
class Clip:
    """A file to send."""

    path: Path
    audio_s: float | None  # None: not known before the server says so
    group: str = ""  # reported apart, such as "3s" in a mix of lengths


@dataclass(frozen=True, slots=True)
class Job:
    clip: Clip
    due_s: float | None = None  # seconds after the start of the run; None: at once


@dataclass(frozen=True, slots=True)
class Outcome:
    """One request's story; times are seconds after the start of the run."""

    path: str
    due_s: float
    sent_s: float
    done_s: float
    audio_s: float | None
    status: int | None  # None: no answer came
    failure: str | None  # None: good; else its type, such as "http 503", "timeout", "connection"
    message: str = ""
    causes: tuple[str, ...] = ()  # why tries before the last failed
    group: str = ""
    model: str | None = None  # that answered, where the server says so

    @property
    def latency_s(self) -> float:
        return self.done_s - self.due_s

    @property
    def retries(self) -> int:
        return len(self.causes)


@dataclass(frozen=True, slots=True)
class LoadRun:
    outcomes: tuple[Outcome, ...]  # in the order they ended
    wall_s: float  # start to last answer
    interrupted: bool = False  # by Ctrl-C; the outcomes are those until then


Send = Callable[[Clip], Reply]
Judge = Callable[[Clip, Reply], tuple[str | None, str]]


class LoadRunner:
    """Runs jobs on threads. `judge` says what is wrong with an answer; `now`, `sleep` are there for tests."""

    def __init__(
        self,
        send: Send,
        threads: int,
        *,
        judge: Judge = lambda _, reply: judge(reply),
        now: Callable[[], float] = time.perf_counter,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._send = send
        self._threads = threads
        self._judge = judge
        self._now, self._sleep = now, sleep

    def run(
        self,
        jobs: Iterable[Job],
        on_outcome: Callable[[Outcome], None] = lambda _: None,
        *,
        start_for_s: float = math.inf,
    ) -> LoadRun:
        """What became of every job; `on_outcome` is called in this thread as each ends.

        After `start_for_s` no more jobs start, and those under way are waited for. Ctrl-C ends the run
        early: requests still under way are left to their threads and not counted.
        """
        ended: SimpleQueue[Outcome | BaseException | None] = SimpleQueue()
        outcomes: list[Outcome] = []  # the threads append: Ctrl-C may come between the queue and this thread
        stop = threading.Event()
        started = self._now()
        waiting = _Shared(takewhile(lambda _: self._now() - started < start_for_s, jobs))
        for _ in range(self._threads):  # daemons: a hanging request must not keep the program alive
            threading.Thread(
                target=self._work, args=(waiting, outcomes, ended, stop, started), daemon=True
            ).start()
        active = self._threads
        interrupted = False
        try:
            while active:
                item = ended.get()
                if item is None:
                    active -= 1
                elif isinstance(item, BaseException):
                    raise item
                else:
                    on_outcome(item)
        except KeyboardInterrupt:
            interrupted = True
        finally:
            stop.set()
        counted = tuple(outcomes)  # a thread that Ctrl-C left behind may still append
        wall_s = max((outcome.done_s for outcome in counted), default=0.0)
        return LoadRun(counted, wall_s, interrupted)

    def _work(
        self,
        waiting: _Shared,
        outcomes: list[Outcome],
        ended: SimpleQueue[Outcome | BaseException | None],
        stop: threading.Event,
        started: float,
    ) -> None:
        try:
            while not stop.is_set() and (job := waiting.take()) is not None:
                outcomes.append(outcome := self._perform(job, started))
                ended.put(outcome)
        except BaseException as error:  # a bug must end the run, not one thread
            ended.put(error)
        finally:
            ended.put(None)

    def _perform(self, job: Job, started: float) -> Outcome:
        if job.due_s is not None:
            pause = started + job.due_s - self._now()
            if pause > 0:
                self._sleep(pause)
        sent_s = self._now() - started
        due_s = sent_s if job.due_s is None else job.due_s
        path = str(job.clip.path)
        try:
            reply = self._send(job.clip)
        except ClientError as error:
            done_s = self._now() - started
            kind = error.causes[-1] if error.causes else type(error).__name__
            told = (job.clip.audio_s, None, kind, str(error), error.causes[:-1])
            return Outcome(path, due_s, sent_s, done_s, *told, job.clip.group)
        done_s = self._now() - started
        failure, message = self._judge(job.clip, reply)
        audio_s = stated_duration(reply) or job.clip.audio_s
        answer = (audio_s, reply.status, failure, message, reply.causes)
        return Outcome(path, due_s, sent_s, done_s, *answer, job.clip.group, reply.model)


class _Shared:
    """An iterator that threads draw from."""

    def __init__(self, jobs: Iterable[Job]) -> None:
        self._jobs = iter(jobs)
        self._lock = threading.Lock()

    def take(self) -> Job | None:
        with self._lock:
            return next(self._jobs, None)


def judge(reply: Reply) -> tuple[str | None, str]:
    """The type of failure and its message; (None, "") for a good reply. A JSON answer must hold a text."""
    if not reply.ok:
        return f"http {reply.status}", refusal_message(reply.status, reply.body)
    if "json" in reply.content_type and not isinstance((reply.document or {}).get("text"), str):
        return NO_TRANSCRIPT, "the server answered 200 with JSON that has no text"
    return None, ""


def stated_duration(reply: Reply) -> float | None:
    """`duration` of a verbose_json reply in seconds; older servers write it as text."""
    document = reply.document if "json" in reply.content_type else None
    try:
        duration = float((document or {}).get("duration", 0))
    except (TypeError, ValueError):
        return None
    return duration if 0 < duration < float("inf") else None
