"""Clients of the gateway: OpenAI's, unmodified, and plain HTTP."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest

from tests.asr.containers import tone, wav
from tests.gateway.fake_torchserve import FakeTorchServe
from tests.gateway.served import Gateway, settings_for

TIMEOUT_S = 60
WHOLE = {"vad_filter": "false", "language": "en"}  # a tone is no speech: decode it all the same


@pytest.fixture
def client(gateway: Gateway) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(
        api_key="none", base_url=f"{gateway.url}/v1", max_retries=0, timeout=TIMEOUT_S
    ) as client:
        yield client


@pytest.fixture
def http(gateway: Gateway) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=gateway.url, timeout=TIMEOUT_S) as client:
        yield client


@pytest.fixture(scope="session")
def tone_wav() -> bytes:
    """Two seconds that no voice detector takes for speech."""
    return wav(tone(2.0))


@pytest.fixture(scope="session")
def long_wav() -> bytes:
    """Seven minutes: many windows."""
    return wav(tone(420.0))


StartGateway = Callable[..., Gateway]


@pytest.fixture
def start_gateway(fake: FakeTorchServe, tmp_path: Path) -> Iterator[StartGateway]:
    """A gateway with settings of the test's own: start_gateway(access={"keys": ["sk-right-0123456789"]})."""
    running: list[Gateway] = []

    def start(
        upstream: FakeTorchServe = fake, /, *, wait: bool = True, **sections: dict[str, Any]
    ) -> Gateway:
        spool_dir = tmp_path / f"spool-{len(running)}"
        spool_dir.mkdir()
        gateway = Gateway(settings_for(upstream, spool_dir, **sections), wait=wait)
        gateway.__enter__()
        running.append(gateway)
        return gateway

    yield start
    for gateway in running:
        gateway.__exit__(None, None, None)
