"""Sends windows to the upstreams: the next of a fair queue, never too many, again where a worker died."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections import deque
from typing import Any

from asr.constants import FRAMES_PER_SECOND
from asr.engine import ModelSpec
from asr.errors import AsrError, EngineFailure
from asr.schema import Hypothesis, Window
from gateway.api_errors import NotReady
from gateway.caller import Caller
from gateway.dispatch.backoff import Resting
from gateway.dispatch.coming_uploads import ComingUploads
from gateway.dispatch.fair_queue import FairQueue
from gateway.dispatch.lane import Lane
from gateway.dispatch.pending import Attempt, Errand, Outcome, Ticket
from gateway.dispatch.watch import Watch
from gateway.settings import UpstreamSettings
from gateway.torchserve.failures import Busy, Cut, NoMemory, NotDecoded, WorkerDied
from gateway.torchserve.upstream import Description, upstreams

__all__ = ["Dispatcher", "Ticket"]

log = logging.getLogger(__name__)


class Dispatcher:
    """All of it runs on one event loop; nothing here blocks it."""

    def __init__(self, settings: UpstreamSettings) -> None:
        self._settings = settings
        self._lanes = [
            Lane(upstream, settings.workers, settings.batches_outstanding) for upstream in upstreams(settings)
        ]
        self._queue: FairQueue[Errand] = FairQueue()
        self._suspects: deque[Errand] = deque()  # were in a batch over which a worker ended
        self._ward: Lane | None = None  # takes one suspect at a time, and nothing else
        self._resting = Resting(settings.no_memory_s, self._again)
        self._attempts: set[Attempt] = set()
        self._sessions = itertools.count()
        self._watch = Watch(self)
        self._description: Description | None = None
        self.coming_uploads = ComingUploads(self.pump)
        self._delayed_pump: asyncio.TimerHandle | None = None  # of a batch that waits for coming uploads
        self._sent = self._retries = self._resent = 0

    async def start(self) -> None:
        """Begins to look for the upstreams; they may come later."""
        self._watch.start()

    async def close(self) -> None:
        """Ends at once: what waits fails."""
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
        """What is out."""
        return self._attempts

    @property
    def spec(self) -> ModelSpec:
        """The model's; raises NotReady until an upstream has told it."""
        return self._described().spec

    @property
    def ready(self) -> bool:
        """Whether an upstream answers."""
        return any(lane.alive for lane in self._lanes)

    def ticket(self, caller: Caller, audio_s: float) -> Ticket:
        """A place in the queue for one session of `audio_s` seconds."""
        session = next(self._sessions)
        self._queue.open(session, caller.name, caller.weight, audio_s)
        return Ticket(self, session)

    def stats(self) -> dict[str, Any]:
        """Counts since the start, and what is going on now."""
        return {
            "outstanding": sum(lane.outstanding for lane in self._lanes),
            "waiting_windows": len(self._queue) + len(self._suspects) + len(self._resting),
            "waiting_audio_s": self._queue.cost,
            "suspects": len(self._suspects) + (self._ward.outstanding if self._ward else 0),
            "sent": self._sent,
            "retries": self._retries,
            "resent": self._resent,
            "deaths": sum(lane.deaths for lane in self._lanes),
            "upstreams": [lane.stats() for lane in self._lanes],
        }

    # ---- for tickets

    def enqueue(self, session: int, window: Window) -> Outcome:
        """The future outcome of the session's window."""
        errand = Errand(session, window, asyncio.get_running_loop().create_future())
        self._queue.push(session, errand, window.num_frames / FRAMES_PER_SECOND)
        self.pump()
        return errand.outcome

    def leave(self, session: int) -> None:
        """Forgets the session's windows that were not sent."""
        self._queue.drop(session)

    # ---- for the watch

    def adopt(self, lane: Lane, description: Description) -> bool:
        """Takes an upstream in; False if its model is not the one that the others have."""
        others = [one.description for one in self._lanes if one is not lane and one.alive and one.description]
        if any(other.spec != description.spec for other in others):
            return False
        lane.description = self._description = description
        lane.alive = True
        lane.cuts = 0
        self.pump()
        return True

    def send_again(self, attempt: Attempt) -> None:
        """Gives up waiting for this attempt, though its answer still counts if it comes first."""
        self._release(attempt)
        self._resent += 1
        attempt.errand.resent += 1
        self._again(attempt.errand)

    def fail_all(self, why: str) -> None:
        """Fails every window that waits or is out."""
        error = NotReady(why)
        for errand in self._suspects:
            errand.resolve(error)
        self._resting.fail_all(error)
        while (queued := self._queue.pop()) is not None:
            queued.resolve(error)
        for attempt in self._attempts:
            attempt.errand.resolve(error)

    def pump(self) -> None:
        """Sends what may be sent now."""
        now = asyncio.get_running_loop().time()
        self._send_suspects(now)
        while len(self._queue) and (lane := self._free_lane(now)) is not None:
            if wait_s := lane.coming_wait_s(now, waiting=len(self._queue), coming=len(self.coming_uploads)):
                self._pump_in(wait_s)
                return
            errand = self._queue.pop()
            if errand is not None and not errand.outcome.done():
                self._send(lane, errand, now)

    # ---- sending

    def _pump_in(self, seconds: float) -> None:
        if self._delayed_pump is not None:
            self._delayed_pump.cancel()
        self._delayed_pump = asyncio.get_running_loop().call_later(seconds, self.pump)

    def _free_lane(self, now: float) -> Lane | None:
        """The upstream with the least to do among those that have room for the next window."""
        for for_newcomer in (False, True):
            if for_newcomer and not self._queue.has_newcomer:
                return None
            free = [
                lane
                for lane in self._lanes
                if lane is not self._ward and lane.has_room(now, for_newcomer=for_newcomer)
            ]
            if free:
                return min(free, key=lambda lane: lane.load)
        return None

    def _send_suspects(self, now: float) -> None:
        """Suspects are decoded alone: who ends a worker then is guilty, and no neighbour is blamed twice."""
        while self._suspects and self._suspects[0].outcome.done():
            self._suspects.popleft()
        if not self._suspects:
            if self._ward is not None and self._ward.outstanding == 0:
                self._ward = None
            return
        if self._ward is None or not self._ward.alive:
            living = [lane for lane in self._lanes if lane.alive]
            self._ward = min(living, key=lambda lane: lane.load, default=None)
        ward = self._ward
        if ward is not None and ward.outstanding == 0 and ward.has_room(now, for_newcomer=True):
            self._send(ward, self._suspects.popleft(), now)

    def _send(self, lane: Lane, errand: Errand, now: float) -> None:
        lane.sent()
        self._sent += 1
        attempt = Attempt(errand, lane, now, lane.outstanding)
        errand.attempts.add(attempt)
        self._attempts.add(attempt)
        attempt.task = asyncio.create_task(self._attempt(attempt))

    async def _attempt(self, attempt: Attempt) -> None:
        outcome: Hypothesis | AsrError | NotDecoded
        try:
            outcome = await attempt.lane.upstream.decode(attempt.errand.window)
        except (AsrError, NotDecoded) as error:
            outcome = error
        except Exception:
            log.exception("sending a window to %s", attempt.lane.upstream.url)
            outcome = EngineFailure("this request could not be decoded; the server's log has the cause")
        finally:
            self._release(attempt)
            self._attempts.discard(attempt)
            attempt.errand.attempts.discard(attempt)
        self._settle(attempt, outcome)
        self.pump()

    def _release(self, attempt: Attempt) -> None:
        if not attempt.released:
            attempt.lane.outstanding -= 1
            attempt.released = True

    # ---- outcomes

    def _settle(self, attempt: Attempt, outcome: Hypothesis | AsrError | NotDecoded) -> None:
        lane, errand, now = attempt.lane, attempt.errand, asyncio.get_running_loop().time()
        if isinstance(outcome, NotDecoded):
            self._not_decoded(attempt, outcome, now)
            return
        lane.took(attempt.sent_at, now, attempt.ahead)
        errand.resolve(outcome)
        for other in errand.attempts:  # the first answer wins
            self._release(other)
            if other.task is not None:
                other.task.cancel()

    def _not_decoded(self, attempt: Attempt, why: NotDecoded, now: float) -> None:
        lane, errand = attempt.lane, attempt.errand
        log.info("a window was not decoded: %s: %s", type(why).__name__, why)
        if isinstance(why, WorkerDied):
            lane.died(now)
            errand.deaths += 1
        elif isinstance(why, Busy):
            lane.refused(now)
        elif isinstance(why, NoMemory):
            lane.lacked(attempt.sent_at, now, is_again=errand.lacks > 0)
        elif isinstance(why, Cut):
            lane.cut()
        else:
            lane.alive = False
        if lane.paused_until > now:
            asyncio.get_running_loop().call_at(lane.paused_until, self.pump)
        if errand.deaths >= self._settings.max_deaths:
            errand.resolve(EngineFailure(f"the model server failed {errand.deaths} times on this audio"))
        elif all(other.released for other in errand.attempts):  # nothing is out that may still be answered
            self._retries += 1
            if isinstance(why, NoMemory):
                self._resting.lay(errand, now)
            else:
                self._again(errand)

    def _again(self, errand: Errand) -> None:
        if errand.outcome.done():
            return
        if errand.deaths:
            self._suspects.append(errand)
        else:
            self._queue.push_again(errand.session, errand)
        self.pump()

    def _described(self) -> Description:
        if self._description is None:
            raise NotReady("the model is not loaded yet; try again in a moment")
        return self._description
