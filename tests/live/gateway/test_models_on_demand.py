"""Three models of a real TorchServe, two of them on demand: every answer comes from the right one."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from asr.audio.prepare import PreparedAudio, prepared_from
from asr.request.options import RequestOptions
from asr.schema import Audio, DecodingOptions, MediaSource, Segment
from asr.sessions import FileSession, open_session
from gateway.caller import LOCAL
from gateway.dispatch.driver import run_session
from gateway.dispatch.fleet import Fleet
from gateway.dispatch.served_model import ServedModel
from gateway.settings import UpstreamSettings
from tests.asr.checkpoints import random_audio
from tests.gateway.dispatch.conftest import until
from tests.live.gateway.conftest import ON_DEMAND
from tests.servers import Server

pytestmark = pytest.mark.server

NAMES = ("whisper", *ON_DEMAND)
OPTIONS = RequestOptions(
    DecodingOptions(language="en", max_tokens=12), temperatures=(0.0,), long_form="parallel", vad_filter=False
)
Answers = dict[tuple[str, int], tuple[Segment, ...]]


@pytest.fixture(scope="module")
def recordings() -> list[PreparedAudio]:
    source = MediaSource("pcm", "pcm_s16le", 16_000, 1)
    audio = [Audio(random_audio(2.0 + number, seed=number), source) for number in range(4)]
    return [prepared_from(each, OPTIONS) for each in audio]


@asynccontextmanager
async def serving(server: Server) -> AsyncIterator[Fleet]:
    settings = {
        "urls": [server.url],
        "management_urls": [server.management],
        "models": {name: {"load": "on_demand"} for name in ON_DEMAND},
    }
    fleet = Fleet(UpstreamSettings.model_validate(settings))
    await fleet.start()
    try:
        await until(lambda: fleet.ready)
        yield fleet
    finally:
        await fleet.close()


async def transcribe(fleet: Fleet, model: ServedModel, prepared: PreparedAudio) -> tuple[Segment, ...]:
    async with fleet.using(model):
        session: FileSession = open_session(prepared, OPTIONS, model.spec)
        with model.dispatcher.ticket(LOCAL, prepared.audio.duration_s) as ticket:
            await run_session(session, ticket)
    assert session.error is None, session.error
    return session.transcript().segments


async def in_peace(fleet: Fleet, recordings: list[PreparedAudio]) -> Answers:
    return {
        (name, number): await transcribe(fleet, fleet.models[name], prepared)
        for name in NAMES
        for number, prepared in enumerate(recordings)
    }


async def test_two_hundred_requests_while_models_come_and_go_and_a_worker_is_killed(
    server: Server, recordings: list[PreparedAudio]
) -> None:
    chance = random.Random(1)
    async with serving(server) as fleet, asyncio.timeout(280):
        second, third = (fleet.models[name] for name in ON_DEMAND)
        assert (second.state, third.state) == ("unloaded", "unloaded")
        expected = await in_peace(fleet, recordings)
        for number in range(len(recordings)):
            answers = {expected[name, number] for name in NAMES}
            assert len(answers) == len(NAMES), "an answer of the wrong model would not be seen"
        gate = asyncio.Semaphore(16)

        async def ask(turn: int) -> None:
            key = chance.choice(NAMES), chance.randrange(len(recordings))
            async with gate:
                if turn == 60:
                    os.kill(server.describe("second")["workers"][0]["pid"], signal.SIGKILL)
                if turn == 120:
                    await fleet.unload(third)
                answer = await transcribe(fleet, fleet.models[key[0]], recordings[key[1]])
            assert answer == expected[key], (turn, key)

        async with asyncio.TaskGroup() as group:
            for turn in range(200):
                group.create_task(ask(turn))
        assert (second.loads, third.loads) == (1, 2)
        assert second.dispatcher.stats()["deaths"] == 1
        assert fleet.models["whisper"].dispatcher.stats()["retries"] == 0, "the others noticed nothing"
        for model in (second, third):
            await fleet.unload(model)
            assert server.describe(model.name)["workers"] == []
