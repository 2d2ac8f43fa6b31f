"""Dispatchers over fake upstreams, with their long times made short."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager
from typing import Any

import pytest

from gateway.dispatch import lane, watch
from gateway.dispatch.dispatcher import Dispatcher
from gateway.settings import UpstreamSettings
from tests.gateway.fake_torchserve import FakeTorchServe

Fakes = Callable[..., FakeTorchServe]
Running = Callable[..., AbstractAsyncContextManager[Dispatcher]]


@pytest.fixture(autouse=True)
def short_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "PROBE_S", 0.05)
    monkeypatch.setattr(watch, "CANARY_S", 0.2)
    monkeypatch.setattr(lane, "BUSY_PAUSE_S", 0.05)


@pytest.fixture
def fakes() -> Iterator[Fakes]:
    """Makes fakes that run until the test ends."""
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(FakeTorchServe(**options))


@pytest.fixture
def fake(fakes: Fakes) -> FakeTorchServe:
    return fakes()


@pytest.fixture
def running() -> Running:
    """A dispatcher over the fakes, begun and, unless told otherwise, ready."""

    @asynccontextmanager
    async def run(*fakes: FakeTorchServe, ready: bool = True, **settings: Any) -> AsyncIterator[Dispatcher]:
        dispatcher = Dispatcher(UpstreamSettings(urls=tuple(fake.url for fake in fakes), **settings))
        await dispatcher.start()
        try:
            if ready:
                await until(lambda: all(lane.alive for lane in dispatcher.lanes))
                for fake in fakes:  # the canary windows of the probe
                    fake.windows.clear()
                    fake.batches.clear()
                    fake.num_windows = 0
            yield dispatcher
        finally:
            await dispatcher.close()

    return run


async def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)
