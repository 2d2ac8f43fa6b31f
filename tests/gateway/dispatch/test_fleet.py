"""Which model serves a name."""

from __future__ import annotations

import pytest

from gateway.api_errors import NotReady
from gateway.dispatch.fleet import Fleet
from gateway.settings import UpstreamSettings
from tests.gateway.dispatch.conftest import until
from tests.gateway.fake_hypotheses import SPEC
from tests.gateway.fake_torchserve import FakeTorchServe


async def test_one_model_serves_every_name(fake: FakeTorchServe) -> None:
    settings = UpstreamSettings.model_validate({"urls": [fake.url], "aliases": ["whisper-1", SPEC.name]})
    fleet = Fleet(settings)
    with pytest.raises(NotReady):
        _ = fleet.models
    await fleet.start()
    try:
        await until(lambda: fleet.ready)
        assert list(fleet.models) == [SPEC.name, "whisper", "whisper-1"]
        assert set(fleet.models.values()) == {fleet.default}
        assert fleet.default.spec == SPEC
    finally:
        await fleet.close()
