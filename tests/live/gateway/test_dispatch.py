"""The dispatcher over a real TorchServe whose workers come, go and are killed: no session notices."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from asr.audio.prepare import PreparedAudio, prepared_from
from asr.request.options import RequestOptions
from asr.schema import Audio, DecodingOptions, MediaSource, Segment, Window
from asr.sessions import FileSession, open_session
from gateway.caller import LOCAL
from gateway.dispatch import watch
from gateway.dispatch.dispatcher import Dispatcher
from gateway.dispatch.driver import run_session
from gateway.settings import UpstreamSettings
from gateway.torchserve.upstream import upstreams
from tests.asr.checkpoints import dims, random_audio, random_checkpoint
from tests.gateway.dispatch.conftest import until
from tests.servers import Server, start_server

pytestmark = pytest.mark.server

LENGTHS_S = (2.0, 40.0, 4.0, 3.0, 70.0, 5.0, 1.0, 6.0)
Request = tuple[PreparedAudio, RequestOptions]


@pytest.fixture(scope="module")
def requests() -> list[Request]:
    """Sixteen: short and long, side by side and one window after the other, with and without word times."""
    return [make_request(i) for i in range(16)]


def make_request(number: int) -> Request:
    samples = random_audio(LENGTHS_S[number % len(LENGTHS_S)], seed=number)
    options = RequestOptions(
        DecodingOptions(language=None if number % 4 == 3 else "en", max_tokens=16),
        temperatures=(0.0,),
        long_form="sequential" if number % 5 == 2 else "parallel",
        vad_filter=False,
        granularities=("segment", "word") if number % 3 == 1 else ("segment",),
    )
    return prepared_from(Audio(samples, MediaSource("pcm", "pcm_s16le", 16_000, 1)), options), options


@asynccontextmanager
async def dispatching(server: Server) -> AsyncIterator[Dispatcher]:
    dispatcher = Dispatcher(UpstreamSettings(urls=(server.url,), management_urls=(server.management,)))
    await dispatcher.start()
    try:
        await until(lambda: dispatcher.ready)
        yield dispatcher
    finally:
        await dispatcher.close()


async def transcribe(dispatcher: Dispatcher, request: Request) -> tuple[Segment, ...]:
    prepared, options = request
    session: FileSession = open_session(prepared, options, dispatcher.spec)
    with dispatcher.ticket(LOCAL, prepared.audio.duration_s) as ticket:
        await run_session(session, ticket)
    assert session.error is None, session.error
    return session.transcript().segments


async def in_peace(dispatcher: Dispatcher, requests: list[Request]) -> list[tuple[Segment, ...]]:
    return [await transcribe(dispatcher, request) for request in requests]


async def test_a_worker_killed_under_sixteen_sessions(server: Server, requests: list[Request]) -> None:
    async with dispatching(server) as dispatcher:
        expected = await in_peace(dispatcher, requests)
        assert sum(map(bool, expected)) >= 12, "the comparison would prove nothing"
        work = asyncio.gather(*(transcribe(dispatcher, request) for request in requests))
        await until(lambda: dispatcher.stats()["outstanding"] >= 8)
        [worker] = server.worker_pids()
        os.kill(worker, signal.SIGKILL)
        async with asyncio.timeout(150):
            assert await work == expected
        assert dispatcher.stats()["deaths"] == 1
        assert dispatcher.stats()["retries"] >= 1
    assert server.worker_pids() != [worker]


async def test_a_short_window_leaves_the_batch_of_longer_ones_first(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    checkpoint = random_checkpoint(tmp_path_factory.mktemp("model"), dims(layers=1))
    engine = {"precision": "float32", "full_windows": False, "max_batch_s": 1e-6, "threads": 1}
    # all windows in one batch of TorchServe, whose answers would leave together
    overrides = {"batchSize": 9, "maxBatchDelay": 5_000, "handler": {"engine": engine}}
    running = start_server(checkpoint, tmp_path_factory.mktemp("server"), model_config=overrides)
    try:
        [upstream] = upstreams(UpstreamSettings(urls=(running.url,)))
        options = DecodingOptions(language="en", max_tokens=8)
        windows = [Window(random_audio(11.0, seed=k), 1_100, options, encoder_frames=1_500) for k in range(8)]
        windows.append(Window(random_audio(0.5, seed=8), 50, options, encoder_frames=1_000))
        order: list[int] = []

        async def decode(number: int) -> None:
            await upstream.decode(windows[number])
            order.append(number)

        await asyncio.gather(*map(decode, range(9)))
        assert (await upstream.describe()).places(1_500) > 1
        upstream.close()
    finally:
        running.stop()
    assert order[0] == 8
    assert sorted(order) == list(range(9))


async def test_workers_added_and_taken_away_under_load(
    server: Server, requests: list[Request], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "RESEND_S", 5.0)
    scaled = False

    async def client(dispatcher: Dispatcher, request: Request) -> list[tuple[Segment, ...]]:
        answers = [await transcribe(dispatcher, request)]
        while not scaled:
            answers.append(await transcribe(dispatcher, request))
        return answers

    async with dispatching(server) as dispatcher:
        expected = await in_peace(dispatcher, requests[:8])
        work = asyncio.gather(*(client(dispatcher, request) for request in requests[:8]))
        await asyncio.to_thread(server.scale, 2)
        await until(lambda: dispatcher.lanes[0].workers == 2)
        await asyncio.to_thread(server.scale, 1)
        await until(lambda: dispatcher.lanes[0].workers == 1)
        scaled = True
        async with asyncio.timeout(150):
            for right, answers in zip(expected, await work, strict=True):
                assert all(answer == right for answer in answers)
