"""One fake TorchServe and one gateway before it, for all tests that need no special one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.gateway.fake_torchserve import FakeTorchServe

if TYPE_CHECKING:
    from tests.gateway.served import Gateway

SAMPLES = Path(__file__).resolve().parents[2] / "samples"


@pytest.fixture(scope="session")
def fake() -> Iterator[FakeTorchServe]:
    with FakeTorchServe(delay_s=0.005, keep_windows=False) as running:
        yield running


@pytest.fixture(scope="session")
def gateway(fake: FakeTorchServe, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    from tests.gateway.served import Gateway, settings_for  # the whole application: not for every test

    with Gateway(settings_for(fake, tmp_path_factory.mktemp("spool"))) as running:
        yield running


@pytest.fixture(scope="session")
def speech() -> Path:
    """Eighteen seconds of English."""
    return SAMPLES / "harvard.wav"
