"""Models on demand: who loads them, who waits for them, and who may load and unload them."""

from __future__ import annotations

from collections.abc import Iterator

import httpx2
import pytest

from tests.asr.containers import tone, wav
from tests.gateway.api.conftest import TIMEOUT_S, WHOLE, StartGateway
from tests.gateway.api.test_several_models import SOUND, wait
from tests.gateway.fake_torchserve import FakeTorchServe

ON_DEMAND = {"hindi": {"languages": ["hi"], "load": "on_demand"}, "english": {"languages": ["en"]}}
KEYS = """
keys:
  - {name: keeper, key: sk-keeper-0123456789, may_load: true}
  - {name: caller, key: sk-caller-0123456789}
"""


@pytest.fixture(autouse=True)
def one_model_again(fake: FakeTorchServe) -> Iterator[None]:
    yield
    fake.models, fake.load_s = {"whisper"}, 0.0
    fake.without_workers.clear()
    fake.scaled.clear()


def test_a_model_on_demand_loads_for_whoever_needs_it_first(
    fake: FakeTorchServe, start_gateway: StartGateway
) -> None:
    """By name, by its language, by the language that is heard, on a plain path and on a stream."""
    fake.models |= {"hindi", "english"}
    fake.load_s = 0.2
    sound = {"file": ("a.wav", wav(tone(2.0)))}
    asking: list[tuple[str, dict[str, str]]] = [
        ("/v1/audio/transcriptions", {"model": "hindi"}),
        ("/v1/audio/transcriptions", {"language": "hi", "stream": "true"}),
        ("/v1/audio/transcriptions", {"languages": "hi,en"}),
        ("/transcribe/?language=hi", {}),
    ]
    for path, fields in asking:
        fake.without_workers.add("hindi")
        gateway = start_gateway(upstream={"models": ON_DEMAND})
        with httpx2.Client(base_url=gateway.url, timeout=TIMEOUT_S) as client:
            assert client.get("/v1/models/hindi").json()["state"] == "unloaded"
            data = SOUND | fields if path.startswith("/v1") else {}
            answer = client.post(path, data=data, files=sound)
            assert (answer.status_code, answer.headers["X-Model"]) == (200, "hindi"), answer.text
            assert client.get("/v1/models/hindi").json()["state"] == "ready"
    assert fake.scaled == [("hindi", 1)] * len(asking)


def test_without_a_wait_the_first_caller_is_told_to_come_again(
    fake: FakeTorchServe, start_gateway: StartGateway
) -> None:
    fake.models |= {"hindi", "english"}
    fake.without_workers.add("hindi")
    fake.load_s = 0.2
    gateway = start_gateway(upstream={"models": ON_DEMAND, "load_wait_s": 0})
    with httpx2.Client(base_url=gateway.url, timeout=TIMEOUT_S) as client:

        def ask(**fields: str) -> httpx2.Response:
            files = {"file": ("a.wav", wav(tone(2.0)))}
            return client.post("/v1/audio/transcriptions", data=WHOLE | fields, files=files)

        refused = ask(model="hindi")
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "5")
        assert "the model hindi is being loaded" in refused.json()["error"]["message"]
        assert ask(model="english").headers["X-Model"] == "english"
        wait(lambda: gateway.service.fleet.models["hindi"].state == "ready")
        assert ask(model="hindi").headers["X-Model"] == "hindi"


def test_a_deadline_counts_while_the_model_loads(fake: FakeTorchServe, start_gateway: StartGateway) -> None:
    fake.models |= {"hindi", "english"}
    fake.without_workers.add("hindi")
    fake.load_s = 2.0
    gateway = start_gateway(upstream={"models": ON_DEMAND})
    with httpx2.Client(base_url=gateway.url, timeout=TIMEOUT_S) as client:
        answer = client.post(
            "/v1/audio/transcriptions",
            data=WHOLE | {"model": "hindi"},
            files={"file": ("a.wav", wav(tone(2.0)))},
            headers={"X-Request-Deadline": "0.3"},
        )
        assert answer.status_code == 504, answer.text


def test_a_key_that_may_loads_and_unloads(
    fake: FakeTorchServe, start_gateway: StartGateway, tmp_path_factory: pytest.TempPathFactory
) -> None:
    fake.models |= {"hindi", "english"}
    fake.without_workers.add("hindi")
    file = tmp_path_factory.mktemp("keys") / "keys.yaml"
    file.write_text(KEYS)
    gateway = start_gateway(upstream={"models": ON_DEMAND}, access={"keys_file": file})
    with httpx2.Client(base_url=gateway.url, timeout=TIMEOUT_S) as client:

        def post(path: str, caller: str) -> tuple[int, str]:
            answer = client.post(path, headers={"Authorization": f"Bearer sk-{caller}-0123456789"})
            body = answer.json()
            return answer.status_code, body.get("state") or body["error"]["code"]

        assert post("/v1/models/hindi/load", "caller") == (403, "permission_denied")
        assert post("/v1/models/hindi/load", "nobody") == (401, "invalid_api_key")
        assert post("/v1/models/hindi/load", "keeper") == (200, "ready")
        assert post("/v1/models/hindi/unload", "keeper") == (200, "unloaded")
        assert post("/v1/models/english/unload", "keeper") == (400, "invalid_value")
        assert post("/v1/models/whisper-1/unload", "keeper") == (400, "invalid_value")
        assert post("/v1/models/gpt-9/load", "keeper") == (404, "model_not_found")
    assert fake.scaled == [("hindi", 1), ("hindi", 0)]


def test_without_keys_this_machine_may_load(fake: FakeTorchServe, start_gateway: StartGateway) -> None:
    fake.models |= {"hindi", "english"}
    fake.without_workers.add("hindi")
    gateway = start_gateway(upstream={"models": ON_DEMAND})
    with httpx2.Client(base_url=gateway.url, timeout=TIMEOUT_S) as client:
        assert client.post("/v1/models/hindi/load").json()["state"] == "ready"
        for foreign in ({"X-Forwarded-For": "203.0.113.5"}, {"Origin": "https://elsewhere.example"}):
            assert client.post("/v1/models/hindi/unload", headers=foreign).status_code == 403
