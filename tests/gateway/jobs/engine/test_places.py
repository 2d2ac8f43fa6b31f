"""Whose line goes next."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.jobs.engine.places import Place, Places, Rank

pytestmark = pytest.mark.usefixtures("alone")


class Crowd:
    """Lines that wait for places, and go when they are told."""

    def __init__(self, places: Places) -> None:
        self.places = places
        self.order: list[str] = []
        self._goes: dict[str, asyncio.Event] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def come(self, name: str, rank: Rank, *, alone: bool = False, audio_s: float = 0.0) -> None:
        self._goes[name] = asyncio.Event()
        self._tasks.append(asyncio.create_task(self._one(name, rank, alone, audio_s)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    async def go(self, name: str) -> None:
        self._goes[name].set()
        for _ in range(4):
            await asyncio.sleep(0)

    async def go_all(self) -> list[str]:
        """Each goes as soon as it has its place; returns the order in which they had it."""
        while not all(task.done() for task in self._tasks):
            for name in self.order:
                self._goes[name].set()
            await asyncio.sleep(0)
        return self.order

    async def _one(self, name: str, rank: Rank, alone: bool, audio_s: float) -> None:
        async with self.places.one(rank, alone=alone) as place:
            place.audio_s = audio_s
            self.order.append(name)
            await self._goes[name].wait()


async def test_within_a_key_the_priority_decides_and_then_the_age() -> None:
    crowd = Crowd(Places(1, 1e9))
    await crowd.come("running", Rank("a"))
    await crowd.come("young", Rank("a", priority=5, serial=2))
    await crowd.come("old", Rank("a", priority=5, serial=1))
    await crowd.come("urgent", Rank("a", priority=1, serial=3))
    assert await crowd.go_all() == ["running", "urgent", "old", "young"]


async def test_keys_take_turns_whatever_their_priorities() -> None:
    crowd = Crowd(Places(2, 1e9))
    for number in range(6):
        await crowd.come(f"a{number}", Rank("a", priority=1, serial=number))
    await crowd.come("b0", Rank("b", priority=9, serial=9))
    await crowd.go("a0")
    assert crowd.order == ["a0", "a1", "b0"]
    await crowd.go_all()


async def test_a_heavier_key_has_more_lines_at_work() -> None:
    crowd = Crowd(Places(1, 1e9))
    await crowd.come("x", Rank("x"))
    for number in range(12):
        await crowd.come(f"heavy{number}", Rank("heavy", weight=3.0, serial=number))
        await crowd.come(f"light{number}", Rank("light", weight=1.0, serial=number))
    crowd.places._num_places = 8
    await crowd.go("x")
    assert Counter(name.rstrip("0123456789") for name in crowd.order[1:]) == {"heavy": 6, "light": 2}
    await crowd.go_all()


async def test_long_audio_at_work_holds_the_next_line_back() -> None:
    crowd = Crowd(Places(4, 100.0))
    await crowd.come("long", Rank("a"), audio_s=14_400.0)
    await crowd.come("next", Rank("b"))
    assert crowd.order == ["long"]
    await crowd.go("long")
    assert crowd.order == ["long", "next"]
    await crowd.go_all()


async def test_lines_whose_length_is_not_known_yet_share_the_memory() -> None:
    places = Places(8, 100.0, num_prepared=2)
    longest = 90.0
    preparing, most_audio_s = 0, 0.0

    async def one() -> None:
        nonlocal preparing, most_audio_s
        async with places.one(Rank("a")) as place, asyncio.timeout(10):
            async with place.preparing():
                preparing += 1
                assert preparing <= 2
                await asyncio.sleep(0)
                place.audio_s = longest
                preparing -= 1
            most_audio_s = max(most_audio_s, places.audio_s)
            for _ in range(3):
                await asyncio.sleep(0)

    await asyncio.gather(*(one() for _ in range(8)))
    assert most_audio_s < 100.0 + 2 * longest


async def test_a_line_that_is_tried_again_gives_the_memory_of_the_first_try_back() -> None:
    places = Places(2, 100.0)

    async def prepare(place: Place, audio_s: float) -> None:
        async with place.preparing():
            place.audio_s = audio_s

    async with places.one(Rank("a")) as first, places.one(Rank("b")) as second, asyncio.timeout(10):
        await prepare(first, 200.0)
        async with asyncio.TaskGroup() as group:
            group.create_task(prepare(second, 1.0))
            await asyncio.sleep(0)
            assert second.audio_s == 0.0, "it waits for the memory of the first one"
            group.create_task(prepare(first, 1.0))


async def test_a_suspect_is_alone() -> None:
    crowd = Crowd(Places(4, 1e9))
    await crowd.come("before", Rank("a"))
    await crowd.come("suspect", Rank("a", serial=1), alone=True)
    await crowd.come("after", Rank("a", serial=2))
    assert crowd.order == ["before"]
    await crowd.go("before")
    assert crowd.order == ["before", "suspect"]
    await crowd.go("suspect")
    assert crowd.order == ["before", "suspect", "after"]
    await crowd.go_all()


async def test_a_line_that_was_interrupted_waits_for_the_others_of_its_key() -> None:
    places = Places(1, 1e9)
    order: list[str] = []

    async def one(name: str, serial: int, num_interrupted: int) -> None:
        async with places.one(Rank("a", serial=serial), num_interrupted):
            order.append(name)
            await asyncio.sleep(0.01)

    await asyncio.gather(one("first", 0, 0), one("suspect", 1, 1), one("fresh", 2, 0))
    assert order == ["first", "fresh", "suspect"]


async def test_who_is_cancelled_while_it_waits_leaves_its_turn_to_the_next() -> None:
    places = Places(1, 1e9)
    crowd = Crowd(places)
    await crowd.come("first", Rank("a"))
    await crowd.come("second", Rank("a", serial=1))
    await crowd.come("third", Rank("a", serial=2))
    crowd._tasks[1].cancel()
    await crowd.go("first")
    assert crowd.order == ["first", "third"] and places.num_at_work == 1
    await asyncio.gather(*crowd._tasks[:2], return_exceptions=True)
    await crowd.go("third")
    assert places.num_at_work == 0


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 9), st.booleans()), max_size=30), st.integers(1, 5)
)
def test_everybody_has_a_turn(lines: list[tuple[int, int, bool]], num_places: int) -> None:
    most = 0

    async def one(places: Places, rank: Rank, alone: bool) -> None:
        nonlocal most
        async with places.one(rank, alone=alone) as place:
            assert isinstance(place, Place)
            most = max(most, places.num_at_work)
            assert not alone or places.num_at_work == 1
            await asyncio.sleep(0)

    async def run() -> None:
        places = Places(num_places, 1e9)
        tasks = [
            one(places, Rank(f"key-{key}", priority=priority, serial=serial), alone)
            for serial, (key, priority, alone) in enumerate(lines)
        ]
        await asyncio.wait_for(asyncio.gather(*tasks), 10)
        assert places.num_at_work == 0

    asyncio.run(run())
    assert most <= num_places
