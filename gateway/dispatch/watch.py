"""Looks after the upstreams: finds them, follows their workers, and misses answers that never come."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np

from asr.errors import AsrError
from asr.schema import DecodingOptions, Window
from gateway.dispatch.lane import Lane
from gateway.dispatch.pending import Attempt
from gateway.torchserve.failures import NotDecoded
from gateway.torchserve.upstream import Description

log = logging.getLogger(__name__)

PROBE_S = 0.5  # between two looks at an upstream that is out
PROBE_TIMEOUT_S = 120.0  # a large model on a slow machine takes its time over one window
CANARY_S = 5.0  # between two canaries of one that answers
CANARY_TIMEOUT_S = 30.0
CANARY_TIMEOUT_BATCHES = 8  # a canary waits behind three batches at most
RESEND_S = 30.0  # without an answer, while others have been answered, before a window is sent again
RESEND_BATCHES = 8
GIVE_UP_S = 300.0  # without any upstream: a worker that has not come back by then, TorchServe gives up too
CANARY = Window(np.zeros(160, np.int16), 1, DecodingOptions(language="en", max_tokens=1))


class Watched(Protocol):
    """The part of the dispatcher that is looked after."""

    @property
    def lanes(self) -> Sequence[Lane]: ...

    @property
    def attempts(self) -> Iterable[Attempt]: ...

    @property
    def ready(self) -> bool: ...

    def pump(self) -> None: ...

    def adopt(self, lane: Lane, description: Description) -> bool: ...

    def fail_all(self, reason: str) -> None: ...

    def send_again(self, attempt: Attempt) -> None: ...


class Watch:
    """Background tasks of a dispatcher, one for each upstream and one for what is out."""

    def __init__(self, dispatcher: Watched) -> None:
        self._dispatcher = dispatcher
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self._tasks = [asyncio.create_task(self._follow(lane)) for lane in self._dispatcher.lanes]
        self._tasks.append(asyncio.create_task(self._miss_answers()))

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

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
        """Takes the upstream in once it has described its model and decoded a window."""
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_S):
                description = await lane.upstream.describe()
                await lane.upstream.decode(CANARY)
        except (NotDecoded, AsrError, TimeoutError) as error:
            log.debug("%s is out: %s", lane.upstream.url, error)
            return
        if self._dispatcher.adopt(lane, description):
            log.info("%s serves %s", lane.upstream.url, description.spec.name)
        else:
            log.error("%s serves %s, unlike the other upstreams", lane.upstream.url, description.spec)

    async def _canary(self, lane: Lane, now: float) -> None:
        timeout_s = max(CANARY_TIMEOUT_S, CANARY_TIMEOUT_BATCHES * (lane.batch_s or 0))
        if await lane.upstream.healthz(timeout_s):
            lane.responded(now)
        elif lane.overtaken_at < now:  # no window that was sent since has been answered either
            log.warning("%s does not answer", lane.upstream.url)
            lane.alive = False

    async def _miss_answers(self) -> None:
        """Sends windows again that TorchServe has lost, as it does with those of a worker scaled down."""
        clock = asyncio.get_running_loop().time
        seen_at = clock()
        while True:
            await asyncio.sleep(min(1.0, RESEND_S / 4))
            now = clock()
            if self._dispatcher.ready:
                seen_at = now
            elif now - seen_at > GIVE_UP_S:
                self._dispatcher.fail_all("no model server has answered for a while; try again later")
            for attempt in [one for one in self._dispatcher.attempts if self._is_missed(one, now)]:
                log.warning("%s has not answered a window; it is sent again", attempt.lane.upstream.url)
                self._dispatcher.send_again(attempt)

    def _is_missed(self, attempt: Attempt, now: float) -> bool:
        """An answer is missed when it takes long and the upstream answers others, or others would answer."""
        lane, errand = attempt.lane, attempt.errand
        if attempt.released or errand.outcome.done():
            return False
        patience = max(RESEND_S, RESEND_BATCHES * (lane.batch_s or 0)) * 2**errand.resent
        if now - attempt.sent_at < patience:
            return False
        return lane.overtaken_at > attempt.sent_at if lane.alive else self._dispatcher.ready
