"""The policy in simulation: jobs' windows go where no other window would, and delay none by a batch."""

from __future__ import annotations

import asyncio
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.caller import LOCAL, Caller
from gateway.dispatch.dispatcher import Dispatcher
from gateway.dispatch.lane import Lane
from gateway.dispatch.live_first import LiveFirst
from tests.gateway.dispatch.conftest import Fakes, Running, until
from tests.gateway.dispatch.sessions import make_window, number_of
from tests.gateway.dispatch.test_lane import lane

BATCH = 16


def simulated(num_jobs: int, batch_s: float, clips: int = 400) -> tuple[list[float], int]:
    """Seconds that each clip of one window waited for its batch to end, and the jobs' windows that went.

    One worker takes what waits in TorchServe's queue whenever it is free, a full batch at most. Clips come at
    random, at two fifths of what the worker can do.
    """
    chance = random.Random(7)
    queue: LiveFirst[tuple[str, float]] = LiveFirst()
    for job in range(num_jobs):
        queue.open(job, f"key-{job % 7}", 1.0, 30.0, is_job=True)
        queue.push(job, ("job", 0.0), 30.0)
    one: Lane = lane(BATCH)
    one.batch_s = batch_s
    waiting: list[tuple[str, float]] = []
    at_work: list[tuple[str, float]] = []
    waits: list[float] = []
    ends, now, went, clip = 0.0, 0.0, 0, 0
    while len(waits) < clips:
        now += batch_s / BATCH
        if chance.random() < 0.4:
            clip += 1
            queue.open(-clip, "person", 1.0, 3.0)
            queue.push(-clip, ("clip", now), 3.0)
        if now >= ends and (at_work or waiting):
            for kind, since in at_work:
                one.record_release("job" if kind == "job" else "file")
                went += kind == "job"
                if kind == "clip":
                    waits.append(now - since)
            at_work, waiting = waiting[:BATCH], waiting[BATCH:]
            ends = now + batch_s
        while one.has_room(now, for_newcomer=queue.has_newcomer):
            jobs_may = one.has_room_for_job(is_live=False)
            if not queue.may_go(files_may=True, jobs_may=jobs_may):
                break
            item = queue.pop(files_may=True, jobs_may=jobs_may)
            assert item is not None
            one.record_send("job" if item[0] == "job" else "file")
            waiting.append(item)
    return waits, went


def p95(waits: list[float]) -> float:
    return sorted(waits)[len(waits) * 95 // 100]


@pytest.mark.parametrize("batch_s", [1.0, 0.1])
def test_ten_thousand_waiting_jobs_delay_a_clip_by_one_batch_at_most(batch_s: float) -> None:
    alone, _ = simulated(0, batch_s)
    beside, went = simulated(10_000, batch_s)
    assert went > 200, "the jobs get what is left"
    assert p95(beside) <= p95(alone) + batch_s
    assert max(beside) <= max(alone) + batch_s


def test_a_jobs_window_never_goes_before_another_one() -> None:
    queue: LiveFirst[str] = LiveFirst()
    queue.open("j", "a", 1.0, 60.0, is_job=True)
    queue.open("f", "b", 1.0, 60.0)
    queue.open("l", "b", 1.0, 5.0, is_live=True)
    for _ in range(9):
        queue.push("j", "job", 30.0)
        queue.push("f", "file", 30.0)
        queue.push("l", "live", 5.0)
    popped = [queue.pop() for _ in range(27)]
    assert popped[18:] == ["job"] * 9 and set(popped[:18]) == {"file", "live"}


@given(st.integers(1, 32), st.integers(1, 4))
def test_a_window_for_which_somebody_waits_finds_a_place_in_the_next_batch(batch: int, workers: int) -> None:
    """Even if the worker has answered its batch early, and all that is in flight waits for the next one."""
    one = lane(batch)
    one.workers = workers
    while one.has_room_for_job(is_live=False):
        one.record_send("job")
    assert one.outstanding == one.batch


def test_jobs_are_shared_by_weight_over_the_keys() -> None:
    queue: LiveFirst[str] = LiveFirst()
    for name, weight in (("light", 1.0), ("heavy", 3.0)):
        queue.open(name, name, weight, 3_600.0, is_job=True)
        for _ in range(400):
            queue.push(name, name, 30.0)
    went = [queue.pop() for _ in range(400)]
    assert 280 <= went.count("heavy") <= 320


def test_without_room_for_jobs_they_wait() -> None:
    queue: LiveFirst[str] = LiveFirst()
    queue.open("j", "a", 1.0, 60.0, is_job=True)
    queue.push("j", "job", 30.0)
    assert not queue.may_go(files_may=True, jobs_may=False)
    assert queue.pop(jobs_may=False) is None
    assert queue.may_go(files_may=False, jobs_may=True)
    assert queue.drop("j") == ["job"] and len(queue) == 0


@pytest.mark.parametrize("batch_size", [4])
async def test_a_clip_goes_before_the_jobs_that_waited(
    fakes: Fakes, running: Running, batch_size: int
) -> None:
    fake = fakes(delay_s=0.5, batch_size=batch_size)  # a busy machine loses no batch between two lines
    async with running(fake) as dispatcher:
        jobs = asyncio.create_task(_decode(dispatcher, 60))
        await until(lambda: bool(fake.batches) and dispatcher.stats()["waiting_windows"] > 30)
        with dispatcher.ticket(LOCAL, 3.0) as ticket:
            before = len(fake.batches)
            await ticket.decode(make_window(1))
            assert 1 in {number_of(window) for batch in fake.batches[: before + 2] for window in batch}
        jobs.cancel()
        await asyncio.gather(jobs, return_exceptions=True)
        assert dispatcher.stats()["waiting_windows"] == 0, "a cancelled job's windows are gone at once"


async def _decode(dispatcher: Dispatcher, count: int) -> None:
    with dispatcher.ticket(Caller("night"), 3_600.0, "job") as ticket:
        async with asyncio.TaskGroup() as group:
            for number in range(100, 100 + count):
                group.create_task(ticket.decode(make_window(number)))
