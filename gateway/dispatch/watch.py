"""Looks after the upstreams: finds them, counts their workers, and has lost windows sent again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any, Protocol

import numpy as np

from asr.errors import AsrError
from asr.schema import DecodingOptions, Window
from gateway.dispatch.lane import Lane
from gateway.dispatch.pending import Attempt
from gateway.torchserve.failures import NotDecoded
from gateway.torchserve.upstream import Description

log = logging.getLogger(__name__)

PROBE_S = 0.5  # between two looks at an upstream that does not answer
PROBE_TIMEOUT_S = 120.0  # a large model on a slow machine needs long for one window
CANARY_S = 5.0  # between two canaries to an upstream that answers
CANARY_TIMEOUT_S = 30.0
CANARY_TIMEOUT_BATCHES = 8  # a canary waits behind three batches at most
RESEND_S = 30.0  # a window is sent again after this time without an answer while later ones were answered
RESEND_BATCHES = 8
GIVE_UP_S = 300.0  # without any upstream; TorchServe gives a worker up after this time too
CANARY = Window(np.zeros(160, np.int16), 1, DecodingOptions(language="en", max_tokens=1))


class Watched(Protocol):
    """What the watch needs of the dispatcher."""

    @property
    def lanes(self) -> Sequence[Lane]: ...

    @property
    def attempts(self) -> Iterable[Attempt]: ...

    @property
    def ready(self) -> bool: ...

    @property
    def is_asleep(self) -> bool: ...

    def pump(self) -> None: ...

    def adopt(self, lane: Lane, description: Description) -> bool: ...

    def fail_all(self, reason: str) -> None: ...

    def send_again(self, attempt: Attempt) -> None: ...


class Watch:
    """A dispatcher's background tasks: one for each upstream, one for the windows in flight."""

    def __init__(self, dispatcher: Watched) -> None:
        self._dispatcher = dispatcher
        self._tasks: set[asyncio.Task[None]] = set()
        self._following: list[asyncio.Task[None]] = []

    def start(self) -> None:
        if not self._dispatcher.is_asleep:
            self.resume()
        self._spawn(self._resend_lost())

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def pause(self) -> None:
        """Looks for no upstream any more. TorchServe may never answer what a worker has when it is ended."""
        for task in self._following:
            task.cancel()
        self._following = []

    def resume(self) -> None:
        """Looks for the upstreams again."""
        if not self._following:
            self._following = [self._spawn(self._follow(lane)) for lane in self._dispatcher.lanes]

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _follow(self, lane: Lane) -> None:
        clock = asyncio.get_running_loop().time
        next_canary = 0.0
        while True:
            try:
                if not lane.alive:
                    await self._probe(lane)
                elif clock() >= next_canary:
                    await self._canary(lane, clock())
                    next_canary = clock() + CANARY_S
                if lane.alive and (workers := await lane.upstream.workers()):
                    lane.workers = workers
                self._dispatcher.pump()
            except Exception:
                log.exception("looking after %s", lane.upstream.url)
            await asyncio.sleep(PROBE_S)

    async def _probe(self, lane: Lane) -> None:
        """Takes the upstream in after it has described its model and decoded a window."""
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_S):
                description = await lane.upstream.describe()
                await lane.upstream.decode(CANARY)
        except (NotDecoded, AsrError, TimeoutError) as error:
            log.debug("%s does not answer: %s", lane.upstream.url, error)
            return
        if self._dispatcher.adopt(lane, description):
            log.info("%s serves %s", lane.upstream.url, description.spec.name)
        else:
            log.error("%s serves %s, unlike the other upstreams", lane.upstream.url, description.spec)

    async def _canary(self, lane: Lane, now: float) -> None:
        timeout_s = max(CANARY_TIMEOUT_S, CANARY_TIMEOUT_BATCHES * (lane.batch_s or 0))
        if await lane.upstream.healthz(timeout_s):
            lane.record_life(now)
        elif lane.newest_answered_at < now:  # nor has it answered a window that was sent since
            log.warning("%s does not answer", lane.upstream.url)
            lane.alive = False

    async def _resend_lost(self) -> None:
        """Has windows sent again that TorchServe lost, as it loses those of a worker that is scaled down."""
        clock = asyncio.get_running_loop().time
        ready_at = clock()
        while True:
            await asyncio.sleep(min(1.0, RESEND_S / 4))
            now = clock()
            if self._dispatcher.ready or self._dispatcher.is_asleep:
                ready_at = now
            elif now - ready_at > GIVE_UP_S:
                self._dispatcher.fail_all("no model server has answered for a while; try again later")
            for attempt in [one for one in self._dispatcher.attempts if self._is_lost(one, now)]:
                log.warning("%s has not answered a window; it is sent again", attempt.lane.upstream.url)
                self._dispatcher.send_again(attempt)

    def _is_lost(self, attempt: Attempt, now: float) -> bool:
        """Late, and either this upstream answered a later window, or it is gone and another one is ready."""
        lane, pending = attempt.lane, attempt.pending
        if attempt.is_released or pending.outcome.done():
            return False
        patience_s = max(RESEND_S, RESEND_BATCHES * (lane.batch_s or 0)) * 2**pending.num_resent
        if now - attempt.sent_at < patience_s:
            return False
        return lane.newest_answered_at > attempt.sent_at if lane.alive else self._dispatcher.ready
