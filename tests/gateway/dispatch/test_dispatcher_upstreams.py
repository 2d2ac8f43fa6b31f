"""The dispatcher over several upstreams, over one that comes and goes, and over none."""

from __future__ import annotations

import asyncio

import pytest

from gateway.api_errors import NotReady
from gateway.dispatch import watch
from tests.gateway.dispatch.conftest import Fakes, Running, until
from tests.gateway.dispatch.sessions import Plain, make_sessions, run_all
from tests.gateway.fake_hypotheses import SPEC


async def test_an_upstream_goes_away_and_comes_back(fakes: Fakes, running: Running) -> None:
    fake = fakes(batch_size=8)
    sessions = make_sessions(20, windows=10)
    async with running(fake) as dispatcher:
        work = asyncio.create_task(run_all(dispatcher, sessions))
        await until(lambda: len(fake.batches) >= 5)
        await asyncio.to_thread(fake.stop)
        await until(lambda: not dispatcher.ready)
        await asyncio.to_thread(fake.start)
        await work
        assert dispatcher.ready
    for session in sessions:
        session.check()


async def test_two_upstreams_share_the_load(fakes: Fakes, running: Running) -> None:
    pair = fakes(batch_size=4), fakes(batch_size=4)
    sessions = [Plain(list(range(200)))]
    async with running(*pair) as dispatcher:
        await run_all(dispatcher, sessions)
    sessions[0].check()
    assert all(fake.num_windows >= 60 for fake in pair), "one long session uses both"


async def test_the_other_upstream_takes_over(fakes: Fakes, running: Running) -> None:
    first, second = fakes(batch_size=4), fakes(batch_size=4)
    sessions = make_sessions(10, windows=10)
    async with running(first, second) as dispatcher:
        work = asyncio.create_task(run_all(dispatcher, sessions))
        await until(lambda: len(first.batches) >= 3)
        await asyncio.to_thread(first.stop)
        await work
        assert dispatcher.ready
    for session in sessions:
        session.check()


async def test_an_upstream_with_another_model_is_left_out(fakes: Fakes, running: Running) -> None:
    right, wrong = fakes(), fakes()
    async with running(right) as alone:
        assert alone.spec == SPEC
    wrong.spec = type(SPEC)("another", multilingual=False, num_languages=1, n_mels=80, n_text_ctx=448)
    async with running(right, wrong, ready=False) as dispatcher:
        await until(lambda: dispatcher.ready)
        served = dispatcher.spec
        await asyncio.sleep(0.3)
        assert [lane.alive for lane in dispatcher.lanes].count(True) == 1
        assert dispatcher.spec == served


async def test_without_upstreams_it_starts_and_waits(fakes: Fakes, running: Running) -> None:
    fake = fakes()
    await asyncio.to_thread(fake.stop)
    session = Plain([1, 2, 3])
    async with running(fake, ready=False) as dispatcher:
        with pytest.raises(NotReady):
            _ = dispatcher.spec
        assert not dispatcher.ready
        work = asyncio.create_task(run_all(dispatcher, [session]))
        await asyncio.sleep(0.1)
        await asyncio.to_thread(fake.start)
        await work
        assert dispatcher.spec == SPEC
    session.check()


async def test_without_upstreams_for_long_requests_fail(
    fakes: Fakes, running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "GIVE_UP_S", 0.2)
    fake = fakes()
    await asyncio.to_thread(fake.stop)
    session = Plain([1, 2, 3])
    async with running(fake, ready=False) as dispatcher:
        await run_all(dispatcher, [session])
    assert isinstance(session.error, NotReady)
