"""Sends windows to the upstreams: the next of a fair queue, never too many, again where a worker died."""

from __future__ import annotations

import asyncio
import itertools
import logging
from typing import Any

from asr.constants import FRAMES_PER_SECOND
from asr.engine import ModelSpec
from asr.errors import AsrError, EngineFailure
from asr.schema import Hypothesis, Window
from gateway.api_errors import NotReady
from gateway.caller import Caller
from gateway.dispatch.backoff import Backoff
from gateway.dispatch.coming_uploads import ComingUploads
from gateway.dispatch.lane import Lane, Use
from gateway.dispatch.live_first import LiveFirst
from gateway.dispatch.pending import Attempt, Outcome, PendingWindow, Ticket
from gateway.dispatch.quarantine import Quarantine
from gateway.dispatch.watch import Watch
from gateway.settings import UpstreamSettings
from gateway.torchserve.failures import NoMemory, NotDecoded, WorkerDied
from gateway.torchserve.upstream import Description, upstreams

log = logging.getLogger(__name__)


class Dispatcher:
    """The windows of one model. All of it runs on one event loop, and nothing here blocks it."""

    def __init__(self, settings: UpstreamSettings, queue: LiveFirst[PendingWindow] | None = None) -> None:
        self._max_deaths = settings.max_deaths
        self._lanes = [
            Lane(upstream, settings.workers, settings.batches_outstanding) for upstream in upstreams(settings)
        ]
        self._queue: LiveFirst[PendingWindow] = LiveFirst() if queue is None else queue
        self._quarantine = Quarantine()
        self._backoff = Backoff(settings.no_memory_s, self._queue_again)
        self._attempts: set[Attempt] = set()
        self._sessions = itertools.count()
        self._watch = Watch(self)
        self._spec: ModelSpec | None = None
        self._is_asleep = False
        self.coming_uploads = ComingUploads(self.pump)
        self._delayed_pump: asyncio.TimerHandle | None = None  # of a batch that waits for coming uploads
        self._sent = self._retries = self._resent = 0

    async def start(self) -> None:
        """Begins to look for the upstreams; they may come up later."""
        self._watch.start()

    async def close(self) -> None:
        """Ends at once; waiting windows fail."""
        await self._watch.stop()
        if self._delayed_pump is not None:
            self._delayed_pump.cancel()
        self.fail_all("the gateway is going down")
        tasks = [attempt.task for attempt in self._attempts if attempt.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for lane in self._lanes:
            lane.upstream.close()

    @property
    def lanes(self) -> list[Lane]:
        return self._lanes

    @property
    def attempts(self) -> set[Attempt]:
        """Those in flight."""
        return self._attempts

    @property
    def spec(self) -> ModelSpec:
        """The model; raises NotReady until an upstream has described it."""
        if self._spec is None:
            raise NotReady("the model is not loaded yet; try again in a moment")
        return self._spec

    @property
    def is_known(self) -> bool:
        """Whether an upstream has described the model, so that windows may wait for it."""
        return self._spec is not None

    @property
    def ready(self) -> bool:
        """Whether an upstream answers."""
        return any(lane.alive for lane in self._lanes)

    @property
    def is_asleep(self) -> bool:
        """Whether it has no workers on purpose; nobody looks for them then."""
        return self._is_asleep

    def sleep(self) -> None:
        """Expects no worker until `wake`."""
        self._is_asleep = True
        self._watch.pause()
        for lane in self._lanes:
            lane.alive = False

    def wake(self) -> None:
        """Looks for workers again."""
        self._is_asleep = False
        self._watch.resume()

    @property
    def has_room_for_partial(self) -> bool:
        """Whether a batch has room for text that is decoded again anyway; not while a live window waits."""
        now = asyncio.get_running_loop().time()
        return not self._queue.has_live and any(lane.has_room_for_partial(now) for lane in self._lanes)

    def ticket(self, caller: Caller, audio_s: float, use: Use = "file") -> Ticket:
        """A place in the queue for one session of `audio_s` seconds."""
        session = next(self._sessions)
        is_live, is_job = use in ("final", "partial"), use == "job"
        self._queue.open(session, caller.name, caller.weight, audio_s, is_live=is_live, is_job=is_job)
        return Ticket(self, session, use)

    def stats(self) -> dict[str, Any]:
        """Counts since the start, and what is going on now."""
        return {
            "outstanding": sum(lane.outstanding for lane in self._lanes),
            "waiting_windows": len(self._queue) + len(self._quarantine) + len(self._backoff),
            "waiting_audio_s": self._queue.cost,
            "quarantined": len(self._quarantine) + self._quarantine.num_in_flight,
            "sent": self._sent,
            "retries": self._retries,
            "resent": self._resent,
            "deaths": sum(lane.deaths for lane in self._lanes),
            "upstreams": [lane.stats() for lane in self._lanes],
        }

    # ---- for tickets

    def enqueue(self, session: int, window: Window, use: Use) -> Outcome:
        """The future outcome of the session's window."""
        pending = PendingWindow(session, window, asyncio.get_running_loop().create_future(), use)
        self._queue.push(session, pending, window.num_frames / FRAMES_PER_SECOND)
        self.pump()
        return pending.outcome

    def leave(self, session: int) -> None:
        """Forgets the session's unsent windows."""
        self._queue.drop(session)

    # ---- for the watch

    def adopt(self, lane: Lane, description: Description) -> bool:
        """Takes an upstream in; False if its model differs from the other upstreams' model."""
        others = [one.description for one in self._lanes if one is not lane and one.alive and one.description]
        if any(other.spec != description.spec for other in others):
            return False
        lane.description = description
        self._spec = description.spec
        lane.alive = True
        lane.cuts = 0
        self.pump()
        return True

    def send_again(self, attempt: Attempt) -> None:
        """Sends the window of a late attempt again. The late answer still counts if it comes first."""
        self._release(attempt)
        self._resent += 1
        attempt.pending.num_resent += 1
        self._queue_again(attempt.pending)

    def fail_all(self, why: str) -> None:
        """Fails every window, waiting or in flight."""
        error = NotReady(why)
        self._quarantine.fail_all(error)
        self._backoff.fail_all(error)
        while (queued := self._queue.pop()) is not None:
            queued.resolve(error)
        for attempt in self._attempts:
            attempt.pending.resolve(error)

    def pump(self) -> None:
        """Sends every window that may go now."""
        now = asyncio.get_running_loop().time()
        if (quarantined := self._quarantine.next(self._lanes, now)) is not None:
            self._send(*quarantined, now)
        while len(self._queue) and (lane := self._free_lane(now)) is not None:
            wait_s = lane.coming_wait_s(now, waiting=len(self._queue), coming=len(self.coming_uploads))
            if wait_s and not self._queue.has_live:
                self._pump_in(wait_s)
                return
            is_live = self._queue.is_live
            room = {
                "files_may": lane.has_room_for_file(is_live=is_live),
                "jobs_may": lane.has_room_for_job(is_live=is_live),
            }
            if not self._queue.may_go(**room):
                return  # until an answer makes room
            pending = self._queue.pop(**room)
            if pending is not None and not pending.outcome.done():
                self._send(lane, pending, now)

    # ---- sending

    def _pump_in(self, seconds: float) -> None:
        if self._delayed_pump is not None:
            self._delayed_pump.cancel()
        self._delayed_pump = asyncio.get_running_loop().call_later(seconds, self.pump)

    def _free_lane(self, now: float) -> Lane | None:
        """The least loaded of the lanes that have room for the next window."""
        for for_newcomer in (False, True):
            if for_newcomer and not self._queue.has_newcomer:
                return None
            free = [
                lane
                for lane in self._lanes
                if not self._quarantine.reserves(lane) and lane.has_room(now, for_newcomer=for_newcomer)
            ]
            if free:
                return min(free, key=lambda lane: lane.load)
        return None

    def _send(self, lane: Lane, pending: PendingWindow, now: float) -> None:
        places = lane.places_of(pending.window)
        lane.record_send(pending.use, places)
        self._sent += 1
        attempt = Attempt(pending, lane, now, places, lane.places)
        pending.attempts.add(attempt)
        self._attempts.add(attempt)
        attempt.task = asyncio.create_task(self._run(attempt))

    async def _run(self, attempt: Attempt) -> None:
        outcome: Hypothesis | AsrError | NotDecoded
        try:
            outcome = await attempt.lane.upstream.decode(attempt.pending.window)
        except (AsrError, NotDecoded) as error:
            outcome = error
        except Exception:
            log.exception("sending a window to %s", attempt.lane.upstream.url)
            outcome = EngineFailure("this request could not be decoded; the server's log has the cause")
        finally:
            self._release(attempt)
            self._attempts.discard(attempt)
            attempt.pending.attempts.discard(attempt)
        now = asyncio.get_running_loop().time()
        if isinstance(outcome, NotDecoded):
            self._not_decoded(attempt, outcome, now)
        else:
            self._decoded(attempt, outcome, now)
        self.pump()

    def _release(self, attempt: Attempt) -> None:
        if not attempt.is_released:
            attempt.lane.record_release(attempt.pending.use, attempt.places)
            attempt.is_released = True

    # ---- outcomes

    def _decoded(self, attempt: Attempt, outcome: Hypothesis | AsrError, now: float) -> None:
        attempt.lane.record_answer(attempt.sent_at, now, attempt.ahead)
        attempt.pending.resolve(outcome)
        for other in attempt.pending.attempts:  # the first answer wins
            self._release(other)
            if other.task is not None:
                other.task.cancel()

    def _not_decoded(self, attempt: Attempt, why: NotDecoded, now: float) -> None:
        pending = attempt.pending
        log.info("a window was not decoded: %s: %s", type(why).__name__, why)
        pending.deaths += isinstance(why, WorkerDied)
        attempt.lane.record_failure(why, attempt.sent_at, now, is_again=pending.memory_refusals > 0)
        if attempt.lane.paused_until > now:
            asyncio.get_running_loop().call_at(attempt.lane.paused_until, self.pump)
        if pending.deaths >= self._max_deaths:
            pending.resolve(EngineFailure(f"the model server failed {pending.deaths} times on this audio"))
        elif all(other.is_released for other in pending.attempts):  # no attempt may still answer in time
            self._retries += 1
            if isinstance(why, NoMemory):
                self._backoff.add(pending, now)
            else:
                self._queue_again(pending)

    def _queue_again(self, pending: PendingWindow) -> None:
        if pending.outcome.done():
            return
        if pending.deaths:
            self._quarantine.add(pending)
        else:
            self._queue.push_again(pending.session, pending)
        self.pump()
