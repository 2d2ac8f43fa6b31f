"""Windows that a worker has no memory for: tried again for a while, then their own requests fail."""

from __future__ import annotations

import asyncio

import pytest

from asr.errors import Overloaded
from asr.schema import Window
from gateway.api_errors import NotReady, headers_of
from gateway.dispatch import lane
from gateway.dispatch.backoff import Backoff
from gateway.dispatch.pending import PendingWindow
from tests.gateway.dispatch.conftest import Fakes, Running, until
from tests.gateway.dispatch.sessions import Plain, make_sessions, make_window, number_of, run, run_all
from tests.gateway.fake_torchserve import FakeTorchServe


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lane, "FIRST_BACKOFF_S", 0.01)
    monkeypatch.setattr(lane, "MAX_BACKOFF_S", 0.04)


def is_no_canary(window: Window) -> bool:
    return window.num_frames > 1


async def pending_window() -> PendingWindow:
    return PendingWindow(0, make_window(1), asyncio.get_running_loop().create_future())


async def test_a_window_pauses_until_it_has_been_refused_for_too_long() -> None:
    woken: list[PendingWindow] = []
    backoff, window = Backoff(10.0, woken.append), await pending_window()
    for times, now in enumerate((100.0, 105.0, 109.9), start=1):
        backoff.add(window, now)
        assert len(backoff) == 1
        await until(lambda times=times: len(woken) == times)  # type: ignore[misc]
    backoff.add(window, 110.0)
    assert len(backoff) == 0
    error = window.outcome.result()
    assert isinstance(error, Overloaded) and "10 s" in error.message
    assert "Retry-After" in headers_of(error)


async def test_pausing_windows_can_be_failed_or_forgotten() -> None:
    woken: list[PendingWindow] = []
    backoff, failed, gone = Backoff(10.0, woken.append), await pending_window(), await pending_window()
    for one in (failed, gone, gone):
        backoff.add(one, 100.0)
    gone.outcome.cancel()
    assert len(backoff) == 1
    backoff.fail_all(NotReady("going down"))
    assert isinstance(failed.outcome.result(), NotReady)
    await asyncio.sleep(0.05)
    assert woken == []


@pytest.mark.parametrize("kind", ["overloaded", "exhausted"])
async def test_a_moment_without_memory_is_waited_for(fakes: Fakes, running: Running, kind: str) -> None:
    fake = fakes(batch_size=8)
    sessions = make_sessions(10, windows=8)
    async with running(fake) as dispatcher:
        fake.fail_next(kind, 12)
        await run_all(dispatcher, sessions)
        assert dispatcher.stats()["retries"] >= 12
        assert dispatcher.stats()["deaths"] == 0, "nobody is suspected"
        assert dispatcher.stats()["outstanding"] == dispatcher.stats()["waiting_windows"] == 0
    for session in sessions:
        session.check()


async def test_without_memory_for_anything_fewer_windows_go_at_a_time(fakes: Fakes, running: Running) -> None:
    fake = fakes(batch_size=8)
    fake.starves = is_no_canary
    sessions = make_sessions(10, windows=4)
    async with running(fake) as dispatcher:
        work = asyncio.create_task(run_all(dispatcher, sessions))
        await until(lambda: dispatcher.lanes[0].hard_limit == 1)
        assert dispatcher.ready
        fake.starves = lambda window: False
        await work
    for session in sessions:
        session.check()


async def test_a_window_that_memory_never_suffices_for_fails_alone(fakes: Fakes, running: Running) -> None:
    fake = fakes(batch_size=8)
    fake.starves = lambda window: number_of(window) == 55
    sessions = make_sessions(20, windows=8)
    async with running(fake, no_memory_s=0.5) as dispatcher:
        await run_all(dispatcher, sessions)
        assert dispatcher.stats()["deaths"] == 0
    [failed] = [session for session in sessions if session.error is not None]
    assert 55 in failed.numbers and isinstance(failed.error, Overloaded)
    for session in sessions:
        if session is not failed:
            session.check()


async def test_nobody_waits_for_a_window_that_lacks_memory(fakes: Fakes, running: Running) -> None:
    fake = fakes(batch_size=8)
    fake.starves = lambda window: number_of(window) == 55
    guilty, others = Plain([54, 55]), make_sessions(10, windows=8, first=1000)
    async with running(fake, no_memory_s=3600.0) as dispatcher:
        work = asyncio.create_task(run(dispatcher, guilty))
        await until(lambda: dispatcher.stats()["retries"] >= 3)
        await run_all(dispatcher, others)
        assert not work.done()
        fake.starves = lambda window: False
        await work
    for session in [guilty, *others]:
        session.check()


async def test_an_upstream_without_memory_leaves_its_windows_to_another(
    fakes: Fakes, running: Running
) -> None:
    starved, good = fakes(batch_size=4), fakes(batch_size=4)
    sessions = make_sessions(10, windows=10)
    async with running(starved, good) as dispatcher:
        starved.starves = is_no_canary
        await run_all(dispatcher, sessions)
        assert all(lane.alive for lane in dispatcher.lanes)
    for session in sessions:
        session.check()


async def test_closing_fails_what_rests(fake: FakeTorchServe, running: Running) -> None:
    fake.starves = is_no_canary
    session = Plain([1, 2])
    async with running(fake) as dispatcher:
        work = asyncio.create_task(run(dispatcher, session))
        await until(lambda: dispatcher.stats()["retries"] > 2)
        await dispatcher.close()
        await work
    assert isinstance(session.error, NotReady)


async def test_a_request_that_leaves_is_not_sent_again(fake: FakeTorchServe, running: Running) -> None:
    fake.starves = is_no_canary
    async with running(fake) as dispatcher:
        gone = asyncio.create_task(run(dispatcher, Plain([1])))
        await until(lambda: fake.num_windows >= 2)
        gone.cancel()
        await asyncio.wait([gone])
        fake.starves = lambda window: False
        session = Plain([2])
        await run(dispatcher, session)
        await until(lambda: dispatcher.stats()["outstanding"] == 0)
        sent = fake.num_windows
        await asyncio.sleep(0.2)
        assert fake.num_windows == sent and dispatcher.stats()["waiting_windows"] == 0
    session.check()
