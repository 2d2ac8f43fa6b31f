"""Whose upload is next, without processes or clocks."""

from __future__ import annotations

import asyncio
from itertools import count

from gateway.media.sizes import LARGE_BYTES
from gateway.media.upload_queue import DELAY_BYTES_PER_S, UploadQueue, UploadTurn

SMALL, LARGE = 100_000, 60_000_000


def turn(size: int, arrived_s: float) -> UploadTurn[str]:
    return UploadTurn(size, arrived_s, asyncio.Future())


async def test_equal_ones_go_in_order() -> None:
    queue: UploadQueue[str] = UploadQueue(2)
    turns = [turn(SMALL, at) for at in range(5)]
    for one in reversed(turns):
        queue.add(one)
    assert [queue.take() for _ in range(6)] == [*turns, None]


async def test_a_small_one_overtakes_a_large_one_that_waits() -> None:
    queue: UploadQueue[str] = UploadQueue(1)
    large, small = turn(LARGE, 0), turn(SMALL, 10)
    queue.add(large)
    queue.add(small)
    assert queue.take() is small
    assert queue.take() is large


async def test_a_large_one_does_not_wait_for_ever() -> None:
    """Small ones come faster than they are served; the large one's turn still comes."""
    queue: UploadQueue[str] = UploadQueue(1)
    large = turn(LARGE, 0)
    queue.add(large)
    for now in count():
        queue.add(turn(SMALL, now))
        queue.add(turn(SMALL, now))
        taken = queue.take()
        assert taken is not None
        if taken is large:
            break
        queue.leave(taken)
    assert now <= 2 * LARGE / DELAY_BYTES_PER_S + 2


async def test_large_ones_leave_a_place_for_small_ones() -> None:
    queue: UploadQueue[str] = UploadQueue(2)
    first, second, small = turn(LARGE, 0), turn(LARGE, 1), turn(SMALL, 99)
    queue.add(first)
    queue.add(second)
    assert queue.take() is first
    assert queue.take() is None
    queue.add(small)
    assert queue.take() is small
    queue.leave(first)
    assert queue.take() is second


async def test_with_one_place_a_large_one_takes_it() -> None:
    queue: UploadQueue[str] = UploadQueue(1)
    large = turn(LARGE_BYTES + 1, 0)
    queue.add(large)
    assert queue.take() is large


async def test_who_leaves_before_being_served_takes_no_place() -> None:
    queue: UploadQueue[str] = UploadQueue(2)
    for _ in range(5):
        gone = turn(LARGE, 0)
        queue.add(gone)
        queue.leave(gone)
    refused = turn(LARGE, 0)
    queue.add(refused)
    assert queue.clear() == [refused]
    queue.leave(refused)
    large = [turn(LARGE, 1), turn(LARGE, 2)]
    for one in large:
        queue.add(one)
    assert queue.take() is large[0]
    assert queue.take() is None
    assert len(queue) == 1


async def test_a_jobs_file_goes_while_no_upload_waits() -> None:
    queue: UploadQueue[str] = UploadQueue(1)
    job = UploadTurn[str](SMALL, 0, asyncio.Future(), is_job=True)
    upload = turn(SMALL, 1_000)
    queue.add(job)
    queue.add(upload)
    assert [queue.take(), queue.take()] == [upload, job]
