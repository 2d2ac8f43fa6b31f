"""The dispatcher over fake upstreams: nothing lost, mixed up or doubled, whatever happens to workers."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

import pytest

from asr.errors import AsrError, EngineFailure, Overloaded
from asr.schema import Hypothesis
from gateway.caller import LOCAL, Caller
from gateway.dispatch import watch
from gateway.dispatch.dispatcher import Dispatcher
from gateway.dispatch.runner import run_session
from gateway.errors import NotReady
from gateway.settings import UpstreamSettings
from tests.gateway.dispatch.conftest import Running, until
from tests.gateway.dispatch.sessions import Plain, make_sessions, make_window, number_of, run, run_all
from tests.gateway.fake_hypotheses import SPEC
from tests.gateway.fake_torchserve import FakeTorchServe

Fakes = Callable[..., FakeTorchServe]


def sent_numbers(*fakes: FakeTorchServe) -> Counter[int]:
    return Counter(number_of(window) for fake in fakes for window in fake.windows if window.num_frames > 1)


async def test_a_thousand_windows_of_fifty_sessions(fake: FakeTorchServe, running: Running) -> None:
    sessions = make_sessions(50, windows=20)
    async with running(fake) as dispatcher:
        await run_all(dispatcher, sessions)
        assert dispatcher.stats()["outstanding"] == dispatcher.stats()["waiting_windows"] == 0
    for session in sessions:
        session.check()
    assert sent_numbers(fake) == Counter(range(1000))
    assert len(fake.batches) <= 250, "windows of many sessions share batches"


async def test_never_more_out_than_the_limit(fakes: Fakes, running: Running) -> None:
    fake = fakes(batch_size=4, delay_s=0.03)
    async with running(fake, batches_outstanding=2.0) as dispatcher:
        peak = 0

        async def look() -> None:
            nonlocal peak
            while True:
                peak = max(peak, dispatcher.stats()["outstanding"])
                await asyncio.sleep(0.002)

        looking = asyncio.create_task(look())
        await run_all(dispatcher, make_sessions(10, windows=10))
        looking.cancel()
    assert 4 <= peak <= 8


async def test_workers_that_die_under_load_cost_nobody_anything(fakes: Fakes, running: Running) -> None:
    fake = fakes(batch_size=8, workers=2)
    sessions = make_sessions(30, windows=10)
    async with running(fake, workers=2) as dispatcher:
        work = asyncio.create_task(run_all(dispatcher, sessions))
        for kind in ("die", "killed", "failed", "die"):
            await until(lambda: dispatcher.stats()["outstanding"] > 8 and not dispatcher.stats()["suspects"])
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


async def test_cut_connections_are_tried_again(fake: FakeTorchServe, running: Running) -> None:
    sessions = make_sessions(10, windows=5)
    async with running(fake) as dispatcher:
        fake.fail_next("reset", 12)
        await run_all(dispatcher, sessions)
    for session in sessions:
        session.check()


async def test_an_answer_that_is_none_is_tried_again(fake: FakeTorchServe, running: Running) -> None:
    sessions = make_sessions(5, windows=4)
    async with running(fake) as dispatcher:
        fake.fail_next("garbage", 5)
        await run_all(dispatcher, sessions)
    for session in sessions:
        session.check()


@pytest.mark.parametrize(("kind", "error"), [("refused", EngineFailure), ("overloaded", Overloaded)])
async def test_what_the_handler_answers_is_an_answer(
    fake: FakeTorchServe, running: Running, kind: str, error: type[AsrError]
) -> None:
    async with running(fake) as dispatcher:
        fake.fail_next(kind)
        with dispatcher.ticket(LOCAL, 1.0) as ticket:
            outcomes = [await ticket.decode(make_window(i)) for i in range(2)]
    assert type(outcomes[0]) is error and isinstance(outcomes[1], Hypothesis)
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


async def test_scaling_down_loses_nothing(
    fakes: Fakes, running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "RESEND_S", 0.2)
    fake = fakes(batch_size=4, workers=3)
    sessions = make_sessions(20, windows=10)
    async with running(fake, management_urls=(fake.management_url,)) as dispatcher:
        assert [lane.workers for lane in dispatcher.lanes] == [3]
        work = asyncio.create_task(run_all(dispatcher, sessions))
        await until(lambda: len(fake.batches) >= 6)
        fake.workers = 1
        await work
        await until(lambda: [lane.workers for lane in dispatcher.lanes] == [1])
    for session in sessions:
        session.check()


async def test_nothing_of_a_cancelled_session_is_sent(fakes: Fakes, running: Running) -> None:
    fake = fakes(batch_size=4, delay_s=0.05)
    async with running(fake, batches_outstanding=1.0) as dispatcher:
        gone = asyncio.create_task(run(dispatcher, Plain(list(range(100)))))
        await until(lambda: fake.num_windows >= 8)
        gone.cancel()
        await asyncio.wait([gone])
        at_once = dispatcher.stats()
        assert at_once["waiting_windows"] == 0 and at_once["waiting_audio_s"] == 0
        session = Plain(list(range(200, 220)))
        await run_all(dispatcher, [session])
    session.check()
    assert sum(number < 100 for number in sent_numbers(fake).elements()) == at_once["sent"]  # of it alone
    assert at_once["sent"] <= 16


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
        assert dispatcher.model["sha256"] == "fake"
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


async def test_closing_fails_what_waits(fakes: Fakes) -> None:
    fake = fakes(delay_s=5)
    dispatcher = Dispatcher(UpstreamSettings(urls=(fake.url,)))
    await dispatcher.start()
    session = Plain(list(range(100)))
    work = asyncio.create_task(run_all(dispatcher, [session]))
    await asyncio.sleep(0.1)
    await dispatcher.close()
    await work
    assert isinstance(session.error, NotReady)


async def test_a_session_that_breaks_fails_alone(fake: FakeTorchServe, running: Running) -> None:
    class Broken(Plain):
        def accept(self, *_: object) -> None:
            raise ZeroDivisionError

    class Idle(Plain):
        def offers(self) -> list[object]:  # type: ignore[override]
            return []

    good, broken, idle = Plain([1, 2, 3]), Broken([4, 5]), Idle([6])
    async with running(fake) as dispatcher:
        await run_all(dispatcher, [good, broken, idle])
    good.check()
    assert isinstance(broken.error, EngineFailure) and isinstance(idle.error, EngineFailure)


async def test_progress_is_told_after_every_window(fake: FakeTorchServe, running: Running) -> None:
    session = Plain([1, 2, 3, 4])
    seen: list[int] = []

    async def on_progress() -> None:
        seen.append(len(session.texts))

    async with running(fake) as dispatcher:
        with dispatcher.ticket(LOCAL, 1.0) as ticket:
            await run_session(session, ticket, on_progress)
    assert seen == [1, 2, 3, 4]


async def test_callers_share_by_weight(fakes: Fakes, running: Running) -> None:
    fake = fakes(batch_size=4, delay_s=0.01)
    light, heavy = Plain(list(range(100))), Plain(list(range(1000, 1300)))
    async with running(fake, batches_outstanding=1.0) as dispatcher:
        await asyncio.gather(
            run(dispatcher, light, Caller("light")), run(dispatcher, heavy, Caller("heavy", weight=3.0))
        )
    numbers = [number_of(window) for window in fake.windows if window.num_frames > 1]
    share = sum(number >= 1000 for number in numbers[8:208]) / 200
    assert 0.65 <= share <= 0.85, "three to one while both wait"
