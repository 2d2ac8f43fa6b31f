"""A gateway whose model writes a word for each 300 ms that it hears, and streams of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.fake_torchserve import FakeTorchServe
from tests.gateway.realtime.streams import Client, counted, stream
from tests.gateway.served import Gateway, settings_for

StartGateway = Callable[..., Gateway]
OpenStream = Callable[..., AbstractContextManager[Client]]


@pytest.fixture(scope="package")
def counting() -> Iterator[FakeTorchServe]:
    with FakeTorchServe(delay_s=0.005, keep_windows=False) as fake:
        fake.hypothesis = counted
        yield fake


@pytest.fixture(scope="package")
def live(counting: FakeTorchServe, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with Gateway(settings_for(counting, tmp_path_factory.mktemp("spool"))) as gateway:
        yield gateway


@pytest.fixture
def start(counting: FakeTorchServe, tmp_path: Path) -> Iterator[StartGateway]:
    """A gateway with settings of the test's own."""
    with ExitStack() as stack:

        def run(upstream: FakeTorchServe = counting, /, **sections: dict[str, Any]) -> Gateway:
            return stack.enter_context(Gateway(settings_for(upstream, tmp_path, **sections)))

        yield run


@pytest.fixture
def open_stream(live: Gateway) -> OpenStream:
    return lambda query="intent=transcription", **options: stream(live.url, query, **options)
