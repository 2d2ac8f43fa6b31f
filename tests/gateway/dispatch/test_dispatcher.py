"""The dispatcher over fake upstreams: nothing lost, mixed up or doubled; sessions come and go."""

from __future__ import annotations

import asyncio
from collections import Counter

from asr.errors import EngineFailure
from gateway.api_errors import NotReady
from gateway.caller import LOCAL, Caller
from gateway.dispatch.dispatcher import Dispatcher
from gateway.dispatch.driver import run_session
from gateway.settings import UpstreamSettings
from tests.gateway.dispatch.conftest import Fakes, Running, until
from tests.gateway.dispatch.sessions import Plain, make_sessions, number_of, run, run_all
from tests.gateway.fake_torchserve import FakeTorchServe


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
