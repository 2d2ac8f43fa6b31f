"""Whose upload is next, without processes or clocks."""

from __future__ import annotations

import asyncio
from itertools import count

from gateway.media.sizes import LARGE_BYTES
from gateway.media.turns import BYTES_PER_SECOND, Line, Turn

SMALL, LARGE = 100_000, 60_000_000


def turn(size: int, arrived_s: float) -> Turn[str]:
    return Turn(size, arrived_s, asyncio.Future())


async def test_equal_ones_go_in_order() -> None:
    line: Line[str] = Line(2)
    turns = [turn(SMALL, at) for at in range(5)]
    for one in reversed(turns):
        line.add(one)
    assert [line.take() for _ in range(6)] == [*turns, None]


async def test_a_small_one_overtakes_a_large_one_that_waits() -> None:
    line: Line[str] = Line(1)
    large, small = turn(LARGE, 0), turn(SMALL, 10)
    line.add(large)
    line.add(small)
    assert line.take() is small
    assert line.take() is large


async def test_a_large_one_does_not_wait_for_ever() -> None:
    """Small ones come faster than they are served; the large one's turn still comes."""
    line: Line[str] = Line(1)
    large = turn(LARGE, 0)
    line.add(large)
    for now in count():
        line.add(turn(SMALL, now))
        line.add(turn(SMALL, now))
        taken = line.take()
        assert taken is not None
        if taken is large:
            break
        line.leave(taken)
    assert now <= 2 * LARGE / BYTES_PER_SECOND + 2


async def test_large_ones_leave_a_place_for_small_ones() -> None:
    line: Line[str] = Line(2)
    first, second, small = turn(LARGE, 0), turn(LARGE, 1), turn(SMALL, 99)
    line.add(first)
    line.add(second)
    assert line.take() is first
    assert line.take() is None
    line.add(small)
    assert line.take() is small
    line.leave(first)
    assert line.take() is second


async def test_with_one_place_a_large_one_takes_it() -> None:
    line: Line[str] = Line(1)
    large = turn(LARGE_BYTES + 1, 0)
    line.add(large)
    assert line.take() is large


async def test_who_leaves_before_being_served_takes_no_place() -> None:
    line: Line[str] = Line(2)
    for _ in range(5):
        gone = turn(LARGE, 0)
        line.add(gone)
        line.leave(gone)
    refused = turn(LARGE, 0)
    line.add(refused)
    assert line.clear() == [refused]
    line.leave(refused)
    large = [turn(LARGE, 1), turn(LARGE, 2)]
    for one in large:
        line.add(one)
    assert line.take() is large[0]
    assert line.take() is None
    assert len(line) == 1
