"""A session whose audio is still arriving, driven by the gateway."""

from __future__ import annotations

import asyncio

import numpy as np

from asr.errors import EngineFailure
from asr.sessions import BROKEN
from gateway.caller import LOCAL
from gateway.dispatch.driver import run_session
from tests.asr.live_audio import LiveAudio
from tests.gateway.dispatch.conftest import Fakes, Running, until
from tests.gateway.dispatch.sessions import Plain, text_of
from tests.gateway.fake_hypotheses import fake_text
from tests.gateway.fake_torchserve import FakeTorchServe


async def test_it_waits_for_audio_and_decodes_what_comes(fake: FakeTorchServe, running: Running) -> None:
    session = LiveAudio()
    async with running(fake) as dispatcher:
        with dispatcher.ticket(LOCAL, 1.0) as ticket:
            driving = asyncio.create_task(run_session(session, ticket))
            for number in range(1, 4):
                await asyncio.sleep(0.05)
                assert not driving.done()
                session.feed(np.full(1600, number, np.int16))
                await until(lambda wanted=number: len(session.hypotheses) == wanted)  # type: ignore[misc]
            session.end()
            async with asyncio.timeout(60):
                await driving
    assert session.error is None
    assert [text_of(session.hypotheses[key]) for key in range(3)] == [
        fake_text(window) for window in fake.windows if window.num_frames > 1
    ]


async def test_audio_that_comes_while_a_window_is_out_is_sent_at_once(fakes: Fakes, running: Running) -> None:
    fake = fakes()
    session = LiveAudio()
    async with running(fake) as dispatcher:
        fake.is_held = lambda: True
        with dispatcher.ticket(LOCAL, 1.0) as ticket:
            driving = asyncio.create_task(run_session(session, ticket))
            session.feed(np.full(1600, 1, np.int16))
            await until(lambda: dispatcher.stats()["outstanding"] == 1)
            session.feed(np.full(1600, 2, np.int16))
            await until(lambda: dispatcher.stats()["outstanding"] == 2)
            assert session.hypotheses == {}
            fake.is_held = lambda: False
            session.end()
            async with asyncio.timeout(60):
                await driving
    assert set(session.hypotheses) == {0, 1}


async def test_a_session_whose_audio_has_ended_and_that_is_not_done_is_broken(
    fake: FakeTorchServe, running: Running
) -> None:
    class NeverDone(LiveAudio):
        done = False  # type: ignore[assignment]

    class Idle(Plain):
        def offers(self) -> list:  # type: ignore[type-arg]
            return []

    never_done, idle = NeverDone(), Idle([1])
    never_done.end()
    async with running(fake) as dispatcher, asyncio.timeout(60):
        for session in (never_done, idle):
            with dispatcher.ticket(LOCAL, 1.0) as ticket:
                await run_session(session, ticket)
            assert isinstance(session.error, EngineFailure)
            assert session.error.message == BROKEN


async def test_a_cancelled_one_leaves_nothing_running(fake: FakeTorchServe, running: Running) -> None:
    session = LiveAudio()
    async with running(fake) as dispatcher:
        before = asyncio.all_tasks()
        with dispatcher.ticket(LOCAL, 1.0) as ticket:
            driving = asyncio.create_task(run_session(session, ticket))
            await asyncio.sleep(0.05)
            driving.cancel()
            await asyncio.wait([driving])
        await until(lambda: asyncio.all_tasks() <= before)
