"""Models that come with their first request and go again: none is lost, none waits for ever."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest

from asr.schema import DecodingOptions, Hypothesis, Window
from gateway.api_errors import NotReady
from gateway.caller import LOCAL
from gateway.dispatch import loader, served_model
from gateway.dispatch.fleet import Fleet
from gateway.dispatch.served_model import ServedModel
from gateway.settings import UpstreamSettings
from tests.asr.checkpoints import random_audio
from tests.gateway.dispatch.conftest import Fakes, until
from tests.gateway.fake_answers import Answer, torchserve_error
from tests.gateway.fake_torchserve import FakeTorchServe

NAMES = ("a", "b", "c")
WINDOW = Window(random_audio(1.0), 100, DecodingOptions(language="en"))
Fleets = Callable[..., AbstractAsyncContextManager[Fleet]]


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader, "KEEP_S", 0.05)
    monkeypatch.setattr(loader, "POLL_S", 0.005)


@pytest.fixture
def fake(fakes: Fakes) -> FakeTorchServe:
    fake = fakes()
    fake.models |= set(NAMES)
    fake.without_workers |= set(NAMES)
    return fake


@pytest.fixture
def fleets(fake: FakeTorchServe) -> Fleets:
    """A fleet whose models a, b and c load on demand; each takes 100 MB."""

    @asynccontextmanager
    async def run(memory_mb: int = 300, wait_s: float = 20, **rows: Any) -> AsyncIterator[Fleet]:
        usual = {"load": "on_demand", "memory_mb": {"cpu": 100}}
        settings = {
            "urls": [fake.url],
            "management_urls": [fake.management_url],
            "memory_mb": {"cpu": memory_mb},
            "load_wait_s": wait_s,
            "models": {name: usual | rows.get(name, {}) for name in NAMES},
        }
        fleet = Fleet(UpstreamSettings.model_validate(settings))
        await fleet.start()
        try:
            await until(lambda: fleet.ready)
            yield fleet
        finally:
            await fleet.close()

    return run


async def decode(fleet: Fleet, model: ServedModel) -> None:
    async with fleet.using(model):
        with model.dispatcher.ticket(LOCAL, 1.0) as ticket:
            assert isinstance(await ticket.decode(WINDOW), Hypothesis)


def states(fleet: Fleet) -> dict[str, str]:
    return {name: fleet.models[name].state for name in NAMES}


async def test_the_first_request_loads_its_model_and_waits_for_it(
    fake: FakeTorchServe, fleets: Fleets
) -> None:
    fake.load_s = 0.1
    async with fleets(a={"workers": 2}) as fleet:
        a = fleet.models["a"]
        assert states(fleet) == dict.fromkeys(NAMES, "unloaded")
        work = asyncio.gather(*(decode(fleet, a) for _ in range(5)))
        await until(lambda: a.state == "loading")
        await work
        assert fake.scaled == [("a", 2)], "five requests, one load"
        assert states(fleet) == {"a": "ready", "b": "unloaded", "c": "unloaded"}
        assert (fake.asked["a"], fake.asked["b"]) == (6, 0), "one of them a canary"


async def test_where_nobody_is_to_wait_the_answer_is_503_while_the_model_loads(fleets: Fleets) -> None:
    async with fleets(wait_s=0) as fleet:
        a = fleet.models["a"]
        with pytest.raises(NotReady, match="the model a is being loaded; try again"):
            await decode(fleet, a)
        await until(lambda: a.state == "ready")
        await decode(fleet, a)


async def test_a_model_that_nobody_uses_goes_and_comes_again(fake: FakeTorchServe, fleets: Fleets) -> None:
    async with fleets(a={"idle_s": 0.3}) as fleet:
        a, b = fleet.models["a"], fleet.models["b"]
        async with fleet.using(a):
            await decode(fleet, a)
            await decode(fleet, b)
            await asyncio.sleep(0.5)
            assert a.state == "ready", "somebody uses it"
        await until(lambda: a.state == "unloaded")
        assert b.state == "ready", "it has no idle_s"
        await decode(fleet, a)
        assert fake.scaled == [("a", 1), ("b", 1), ("a", 0), ("a", 1)]


async def test_the_least_recently_used_model_makes_room(fake: FakeTorchServe, fleets: Fleets) -> None:
    async with fleets(memory_mb=200) as fleet:
        a, b, c = (fleet.models[name] for name in NAMES)
        await decode(fleet, a)
        await decode(fleet, b)
        await decode(fleet, a)
        await decode(fleet, c)
        assert states(fleet) == {"a": "ready", "b": "unloaded", "c": "ready"}
        async with fleet.using(a):
            await decode(fleet, b)
            assert a.state == "ready", "c goes, which nobody uses, although a is older"


async def test_a_model_goes_only_after_its_last_request(fake: FakeTorchServe, fleets: Fleets) -> None:
    async with fleets(memory_mb=100) as fleet:
        a, b = fleet.models["a"], fleet.models["b"]
        await fleet.load(a)
        fake.is_held = lambda: True
        running = asyncio.gather(*(decode(fleet, a) for _ in range(4)))
        await until(lambda: fake.under_way["a"] > 0)
        other = asyncio.create_task(decode(fleet, b))
        await until(lambda: a.state == "unloading")
        late = asyncio.create_task(decode(fleet, a))  # waits until a is back
        fake.is_held = lambda: False
        await running
        await other
        await late
        assert not fake.lost.total()
        assert fake.scaled == [("a", 1), ("a", 0), ("b", 1), ("b", 0), ("a", 1)]


async def test_a_model_that_is_too_large_is_refused_with_the_numbers(fleets: Fleets) -> None:
    async with fleets(a={"memory_mb": {"cpu": 400}}) as fleet:
        with pytest.raises(NotReady, match="needs 400 MB of cpu memory, 300 of 300 MB are free"):
            await decode(fleet, fleet.models["a"])
        await decode(fleet, fleet.models["b"])


async def test_a_model_that_does_not_load_says_why_and_has_its_fallback(
    fake: FakeTorchServe, fleets: Fleets, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.fails_to_load.add("a")
    async with fleets(a={"fallback": "b"}) as fleet:
        a, b = fleet.models["a"], fleet.models["b"]
        assert fleet.answering(a) is a, "it may load"
        with pytest.raises(NotReady, match="a could not be loaded: the model server's log has the reason"):
            await decode(fleet, a)
        assert fleet.answering(a) is b
        assert fake.scaled == [("a", 1), ("a", 0)], "no worker that fails again and again is left"
        with pytest.raises(NotReady, match="a could not be loaded"):
            await decode(fleet, a)
        assert len(fake.scaled) == 2, "not at every request"
        monkeypatch.setattr(served_model, "FAILED_S", 0.0)
        fake.fails_to_load.clear()
        await decode(fleet, a)
        assert a.state == "ready"


async def test_a_model_that_cannot_be_unloaded_goes_on_serving(
    fake: FakeTorchServe, fleets: Fleets, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with fleets() as fleet:
        a = fleet.models["a"]
        await decode(fleet, a)

        async def refuse(self: FakeTorchServe, path: str, query: str) -> Answer:
            return torchserve_error(500, "InternalServerException", "Interrupted while cleaning resources")

        monkeypatch.setattr(FakeTorchServe, "_scale", refuse)
        with pytest.raises(NotReady, match="a could not be unloaded"):
            await fleet.unload(a)
        await decode(fleet, a)
        assert a.state == "ready"


async def test_a_torchserve_that_was_started_again_gets_its_models_back(
    fake: FakeTorchServe, fleets: Fleets
) -> None:
    async with fleets() as fleet:
        a = fleet.models["a"]
        await decode(fleet, a)
        fake.stop()
        fake.without_workers |= set(NAMES)
        await until(lambda: not a.dispatcher.ready)
        work = asyncio.create_task(decode(fleet, a))
        fake.start()
        await work


async def test_a_gateway_that_was_started_again_finds_what_is_loaded(
    fake: FakeTorchServe, fleets: Fleets
) -> None:
    fake.without_workers.discard("b")
    async with fleets() as fleet:
        await until(lambda: fleet.models["b"].state == "ready")
        assert states(fleet) == {"a": "unloaded", "b": "ready", "c": "unloaded"}
        await decode(fleet, fleet.models["b"])
        assert fake.scaled == []


async def test_two_hundred_requests_for_more_models_than_there_is_room_for(
    fake: FakeTorchServe, fleets: Fleets
) -> None:
    """Whatever comes, goes, is asked for and unloaded by hand: every request is answered, nothing is lost."""
    chance = random.Random(3)
    async with fleets(memory_mb=100) as fleet:
        models = [fleet.models[name] for name in NAMES]

        async def ask(at_s: float) -> None:
            await asyncio.sleep(at_s)
            await decode(fleet, chance.choice(models))

        async def unload(at_s: float) -> None:
            await asyncio.sleep(at_s)
            await fleet.unload(chance.choice(models))

        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            for _ in range(200):
                group.create_task(ask(chance.uniform(0, 1)))
            for _ in range(10):
                group.create_task(unload(chance.uniform(0, 1)))
        assert not fake.lost.total()
        assert sum(model.loads for model in models) >= 3
        assert [state for state in states(fleet).values()].count("unloaded") >= 2, "room for one"
