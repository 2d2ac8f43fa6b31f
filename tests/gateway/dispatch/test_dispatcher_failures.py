"""The dispatcher while workers die, refuse, hang or leave: nothing lost, mixed up or doubled."""

from __future__ import annotations

import asyncio

import pytest

from asr.errors import EngineFailure
from asr.schema import Hypothesis
from gateway.caller import LOCAL
from gateway.dispatch import watch
from tests.gateway.dispatch.conftest import Fakes, Running, until
from tests.gateway.dispatch.sessions import Plain, make_sessions, make_window, number_of, run_all
from tests.gateway.fake_torchserve import FakeTorchServe


async def test_workers_that_die_under_load_cost_nobody_anything(fakes: Fakes, running: Running) -> None:
    fake = fakes(batch_size=8, workers=2)
    sessions = make_sessions(30, windows=10)
    async with running(fake, workers=2) as dispatcher:
        work = asyncio.create_task(run_all(dispatcher, sessions))
        for kind in ("die", "killed", "failed", "die"):
            await until(
                lambda: dispatcher.stats()["outstanding"] > 8 and not dispatcher.stats()["quarantined"]
            )
            retries = dispatcher.stats()["retries"]
            fake.fail_next(kind)
            await until(lambda retries=retries: dispatcher.stats()["retries"] > retries)  # type: ignore[misc]
        await work
    for session in sessions:
        session.check()
    assert fake.deaths == 3, "a handler that raises does not end its worker"


async def test_a_window_that_kills_two_workers_fails_its_own_session_only(
    fakes: Fakes, running: Running
) -> None:
    fake = fakes(batch_size=8)
    fake.poison = lambda window: number_of(window) == 55
    sessions = make_sessions(20, windows=8)
    async with running(fake) as dispatcher:
        await run_all(dispatcher, sessions)
    [failed] = [session for session in sessions if session.error is not None]
    assert 55 in failed.numbers and isinstance(failed.error, EngineFailure)
    for session in sessions:
        if session is not failed:
            session.check()
    assert fake.deaths == 2
    assert [len(batch) for batch in fake.batches if 55 in map(number_of, batch)][1] == 1, "alone"


async def test_two_poisoned_windows_in_one_batch_fail_two_sessions(fakes: Fakes, running: Running) -> None:
    fake = fakes(batch_size=16)
    fake.poison = lambda window: number_of(window) in (3, 4)
    sessions = [Plain([i]) for i in range(16)]
    async with running(fake) as dispatcher:
        await run_all(dispatcher, sessions)
    assert [i for i, session in enumerate(sessions) if session.error is not None] == [3, 4]
    for i, session in enumerate(sessions):
        if i not in (3, 4):
            session.check()


async def test_busy_storms_delay_and_blame_nobody(fakes: Fakes, running: Running) -> None:
    fake = fakes(batch_size=8, queue_size=4)  # its queue holds half a batch: most of a volley is refused
    sessions = make_sessions(20, windows=8)
    async with running(fake, batches_outstanding=6.0) as dispatcher:
        fake.fail_next("busy", 40)
        await run_all(dispatcher, sessions)
        assert dispatcher.stats()["retries"] >= 40
    for session in sessions:
        session.check()


@pytest.mark.parametrize(
    ("kind", "failures", "sessions", "windows"),
    [
        pytest.param("reset", 12, 10, 5, id="a connection that is cut"),
        pytest.param("garbage", 5, 5, 4, id="an answer that is none"),
    ],
)
async def test_is_tried_again(
    fake: FakeTorchServe, running: Running, kind: str, failures: int, sessions: int, windows: int
) -> None:
    asking = make_sessions(sessions, windows=windows)
    async with running(fake) as dispatcher:
        fake.fail_next(kind, failures)
        await run_all(dispatcher, asking)
    for session in asking:
        session.check()


async def test_what_the_handler_answers_is_an_answer(fake: FakeTorchServe, running: Running) -> None:
    async with running(fake) as dispatcher:
        fake.fail_next("refused")
        with dispatcher.ticket(LOCAL, 1.0) as ticket:
            outcomes = [await ticket.decode(make_window(i)) for i in range(2)]
    assert type(outcomes[0]) is EngineFailure and isinstance(outcomes[1], Hypothesis)
    assert fake.num_windows == 2, "not sent again"


async def test_a_window_that_is_never_answered_is_sent_again(
    fakes: Fakes, running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "RESEND_S", 0.2)
    fake = fakes(batch_size=4, delay_s=0.005)
    sessions = make_sessions(6, windows=10)
    async with running(fake) as dispatcher:
        fake.fail_next("hang", 7)
        await run_all(dispatcher, sessions)
        assert dispatcher.stats()["resent"] >= 7
        assert dispatcher.stats()["outstanding"] == 0
    for session in sessions:
        session.check()


async def test_a_window_that_is_refused_while_an_answer_is_missed_goes_again(
    fake: FakeTorchServe, running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "RESEND_S", 0.2)
    session = Plain([1])
    async with running(fake) as dispatcher:
        fake.fail_next("hang")
        work = asyncio.create_task(run_all(dispatcher, [session]))
        await until(lambda: fake.num_windows == 1)
        fake.fail_next("busy")
        await work
        assert dispatcher.stats()["resent"] >= 1 and dispatcher.stats()["retries"] >= 1
    session.check()


async def test_scaling_down_loses_nothing(
    fakes: Fakes, running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "RESEND_S", 0.2)
    fake = fakes(batch_size=4, workers=3)
    sessions = make_sessions(20, windows=10)
    async with running(fake, management_urls=(fake.management_url,)) as dispatcher:
        await until(lambda: [lane.workers for lane in dispatcher.lanes] == [3])
        work = asyncio.create_task(run_all(dispatcher, sessions))
        await until(lambda: len(fake.batches) >= 6)
        fake.workers = 1
        await work
        await until(lambda: [lane.workers for lane in dispatcher.lanes] == [1])
    for session in sessions:
        session.check()
