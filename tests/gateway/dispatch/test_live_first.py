"""The policy in simulation: live windows before files', files never starved, partials where there is room."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass

import pytest

from gateway.caller import LOCAL
from gateway.dispatch.dispatcher import Dispatcher
from gateway.dispatch.lane import Use
from gateway.dispatch.live_first import FILE_EVERY, LiveFirst
from tests.gateway.dispatch.conftest import Fakes, Running, until
from tests.gateway.dispatch.sessions import make_window, number_of
from tests.gateway.dispatch.test_lane import lane

BATCH = 16
WINDOW_S = 30.0


@dataclass(frozen=True)
class Talk:
    """A stream of a simulation: a turn of `turn_s` is committed every `every` batches."""

    name: int
    turn_s: float
    every: int
    phase: int


def simulate(talks: list[Talk], num_files: int, batches: int) -> tuple[list[int], Counter[str]]:
    """The batches that each final has waited, and the windows of each kind that went."""
    queue: LiveFirst[tuple[str, int]] = LiveFirst()
    for file in range(num_files):
        queue.open(("file", file), f"file-{file}", 1.0, 36_000.0)
        for _ in range(BATCH * batches):
            queue.push(("file", file), ("file", 0), WINDOW_S)
    waits: list[int] = []
    went: Counter[str] = Counter()
    for now in range(batches):
        for talk in talks:
            if now % talk.every == talk.phase:
                turn = (talk.name, now)
                queue.open(turn, f"talk-{talk.name}", 1.0, talk.turn_s, is_live=True)
                queue.push(turn, ("final", now), talk.turn_s)
        for _ in range(BATCH):
            kind, since = queue.pop() or ("", 0)
            went[kind] += 1
            if kind == "final":
                waits.append(now - since)
    return waits, went


def test_finals_go_with_the_next_batch_beside_any_number_of_files() -> None:
    talks = [Talk(i, 5.0, every=20, phase=i % 20) for i in range(200)]  # ten turns end in each batch
    waits, went = simulate(talks, num_files=40, batches=200)
    assert len(waits) == 2_000 and max(waits) == 0
    assert went["file"] == 200 * (BATCH - 10)


def test_files_keep_their_share_however_many_streams_there_are() -> None:
    talks = [Talk(i, 5.0, every=10, phase=i % 10) for i in range(1_000)]  # a hundred turns end in each batch
    _, went = simulate(talks, num_files=4, batches=100)
    assert went["file"] == 100 * BATCH // FILE_EVERY
    assert went[""] == 0


def test_alone_each_kind_takes_everything() -> None:
    queue: LiveFirst[str] = LiveFirst()
    queue.open("f", "a", 1.0, 60.0)
    queue.open("l", "a", 1.0, 5.0, is_live=True)
    for _ in range(20):
        queue.push("l", "live", 5.0)
    assert [queue.pop() for _ in range(20)] == ["live"] * 20
    for _ in range(20):
        queue.push("f", "file", 30.0)
    assert len(queue) == 20 and queue.cost == 600.0
    assert [queue.pop() for _ in range(20)] == ["file"] * 20
    assert queue.pop() is None


def test_a_dropped_session_leaves_nothing() -> None:
    queue: LiveFirst[str] = LiveFirst()
    queue.open("l", "a", 1.0, 5.0, is_live=True)
    queue.push("l", "live", 5.0)
    assert queue.has_live and queue.has_newcomer
    assert queue.drop("l") == ["live"]
    assert (len(queue), queue.cost, queue.has_live, queue.pop()) == (0, 0.0, False, None)


@pytest.mark.parametrize(("batch_size", "most"), [(16, 8), (2, 1), (1, 1)])
def test_partials_fill_at_most_half_a_batch(batch_size: int, most: int) -> None:
    made = lane(batch_size)
    made.partials = most - 1
    assert made.has_room_for_partial(0.0)
    made.partials = most
    assert not made.has_room_for_partial(0.0)
    made.partials, made.places = 0, made.hard_limit
    assert not made.has_room_for_partial(0.0)


@pytest.mark.parametrize(("place_s", "most"), [(0.02, 8), (0.25, 4), (0.7, 1), (5.0, 1)])
def test_a_slow_machine_looks_at_few_turns_at_a_time(place_s: float, most: int) -> None:
    made = lane(16)
    made.place_s = place_s
    made.partials = most - 1
    assert made.has_room_for_partial(0.0)
    made.partials = most
    assert not made.has_room_for_partial(0.0)


@pytest.mark.parametrize(("place_s", "finals", "may"), [(None, 9, True), (0.01, 9, True), (0.3, 1, False)])
def test_no_look_goes_beside_finals_that_take_long(place_s: float | None, finals: int, may: bool) -> None:
    made = lane(16)
    made.place_s = place_s
    for _ in range(finals):
        made.record_send("final")
    assert made.has_room_for_partial(0.0) is may
    for _ in range(finals):
        made.record_release("final")
    assert made.has_room_for_partial(0.0)


@pytest.mark.parametrize(("place_s", "most"), [(None, 16), (0.02, 50), (0.25, 4), (5.0, 1)])
def test_while_somebody_speaks_files_have_a_second_of_windows_in_flight(
    place_s: float | None, most: int
) -> None:
    made = lane(16)
    made.place_s = place_s
    made.files = most - 1
    assert made.has_room_for_file(is_live=True)
    made.files = most
    assert not made.has_room_for_file(is_live=True)
    assert made.has_room_for_file(is_live=False)


def test_a_lane_learns_what_one_window_takes() -> None:
    slow = lane(16)
    for i in range(50):
        slow.record_answer(sent_at=i, now=i + 4.0, ahead=8)  # eight windows took four seconds
    assert slow.place_s == pytest.approx(0.5)


async def decode(dispatcher: Dispatcher, numbers: range, use: Use) -> None:
    async def one(number: int) -> None:
        with dispatcher.ticket(LOCAL, 1.0, use) as ticket:
            await ticket.decode(make_window(number))

    await asyncio.gather(*map(one, numbers))


async def test_finals_are_sent_before_the_files_that_waited(fakes: Fakes, running: Running) -> None:
    fake = fakes(delay_s=0.05, batch_size=2)
    async with running(fake, batches_outstanding=1.0) as dispatcher:
        files = asyncio.create_task(decode(dispatcher, range(100, 140), "file"))
        await until(lambda: dispatcher.stats()["waiting_windows"] > 30)
        assert dispatcher.has_room_for_partial is False
        await decode(dispatcher, range(1, 3), "final")
        sent = [number_of(window) for window in fake.windows]
        assert max(sent.index(1), sent.index(2)) <= 6, "behind those in flight, and a file's turn"
        await files
    assert sorted(number_of(window) for window in fake.windows if window.num_frames > 1) == [
        1,
        2,
        *range(100, 140),
    ]


async def test_a_slow_machine_keeps_files_short_while_somebody_speaks(fakes: Fakes, running: Running) -> None:
    fake = fakes(delay_s=0.4, batch_size=8)
    async with running(fake) as dispatcher:
        files = asyncio.create_task(decode(dispatcher, range(100, 140), "file"))
        await until(lambda: len(fake.batches) >= 2)
        with dispatcher.ticket(LOCAL, 5.0, "partial"):
            dispatcher.lanes[0].place_s = 0.5
            await until(lambda: dispatcher.lanes[0].files <= 2)
            for _ in range(20):
                dispatcher.lanes[0].place_s = 0.5
                assert dispatcher.lanes[0].files <= 2
                await asyncio.sleep(0.02)
        await files


async def test_a_partial_gives_its_place_back(fakes: Fakes, running: Running) -> None:
    fake = fakes(delay_s=0.05, batch_size=2)
    async with running(fake) as dispatcher:
        assert dispatcher.has_room_for_partial
        partial = asyncio.create_task(decode(dispatcher, range(1, 2), "partial"))
        await until(lambda: dispatcher.lanes[0].partials == 1)
        assert not dispatcher.has_room_for_partial
        await partial
        assert dispatcher.has_room_for_partial and dispatcher.lanes[0].partials == 0
