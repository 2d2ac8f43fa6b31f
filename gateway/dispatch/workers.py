"""A model's workers at all of its upstreams: how many there are, and starting and ending them."""

from __future__ import annotations

import asyncio

from gateway.dispatch.dispatcher import Dispatcher


async def scale(dispatcher: Dispatcher, workers: int, timeout_s: float) -> None:
    """Starts or ends the workers; raises NotDecoded where an upstream does not.

    With 0 nobody looks for workers any more, and whatever they decode is lost.
    """
    if not workers:
        dispatcher.sleep()
    await asyncio.gather(*(lane.upstream.scale(workers, timeout_s) for lane in dispatcher.lanes))
    if workers:
        dispatcher.wake()


async def num_workers(dispatcher: Dispatcher) -> int | None:
    """Workers that the upstreams keep, dead ones included; None where one does not say."""
    states = await asyncio.gather(*(lane.upstream.worker_states() for lane in dispatcher.lanes))
    known = [each for each in states if each is not None]
    return sum(map(len, known)) if len(known) == len(states) else None
