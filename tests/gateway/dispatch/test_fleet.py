"""Which model serves a name."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

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


@pytest.mark.parametrize(
    ("models", "said"),
    [
        ({"a": {"aliases": ["whisper-1"]}}, "whisper-1 belongs to two models, whisper and a"),
        ({"a": {"aliases": ["b"]}, "b": {}}, "b belongs to two models, a and b"),
        ({"a": {"languages": ["hi"]}, "b": {"languages": ["hi"]}}, "the language hi belongs to two models"),
        ({"a": {"languages": ["hindi"]}}, "hindi must be Whisper's codes"),
        ({"a": {"fallback": "b"}}, "the fallback of a is 'b', must be another model's name"),
        ({"a": {"fallback": "a"}}, "the fallback of a is 'a'"),
        ({"whisper": {}}, "whisper is the default model and one of models too"),
        ({"a": {"language": ["hi"]}}, "language"),
    ],
)
def test_models_that_are_not_clear_are_refused(models: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        UpstreamSettings.model_validate({"models": models})


async def test_fallbacks_that_lead_in_a_circle_end(fake: FakeTorchServe) -> None:
    models = {"a": {"fallback": "b"}, "b": {"fallback": "a"}}
    fleet = Fleet(UpstreamSettings.model_validate({"urls": [fake.url], "models": models}))
    await fleet.start()
    try:
        await until(lambda: fleet.ready)
        assert fleet.answering(fleet.models["a"]).name == "a", "neither answers"
        fake.models.add("b")
        await until(lambda: fleet.models["b"].state == "ready")
        assert fleet.answering(fleet.models["a"]).name == "b"
    finally:
        await fleet.close()


async def test_the_counts_of_all_models_are_one_servers(fake: FakeTorchServe) -> None:
    fake.models.add("hindi")
    settings = {"urls": [fake.url], "management_urls": [fake.url], "models": {"hindi": {}}}
    fleet = Fleet(UpstreamSettings.model_validate(settings))
    await fleet.start()
    try:
        await until(lambda: fleet.ready and fleet.models["hindi"].state == "ready")
        [server] = fleet.stats()["upstreams"]
        assert (server["url"], server["workers"], server["alive"]) == (fake.url, 2, True)
    finally:
        await fleet.close()
