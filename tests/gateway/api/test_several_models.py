"""Several models behind one gateway: which one answers, by name, by language, and when one is missing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator

import httpx2
import openai
import pytest

from tests.asr.containers import tone, wav
from tests.gateway.api.conftest import TIMEOUT_S, WHOLE, StartGateway
from tests.gateway.fake_torchserve import FakeTorchServe
from tests.gateway.served import Gateway

MODELS = {
    "hindi": {"languages": ["hi", "mr", "ne"], "aliases": ["whisper-hindi-small"]},
    "english": {"languages": ["en"], "fallback": "whisper"},
    "large": {},
}
SOUND = {"vad_filter": "false"}


@pytest.fixture(autouse=True)
def one_model_again(fake: FakeTorchServe) -> Iterator[None]:
    yield
    fake.models = {"whisper"}


@pytest.fixture
def gateway(fake: FakeTorchServe, start_gateway: StartGateway) -> Gateway:
    fake.models = {"whisper", *MODELS}
    gateway = start_gateway(upstream={"models": MODELS})
    wait(lambda: all(model.state == "ready" for model in gateway.service.fleet.models.values()))
    return gateway


def wait(reached: Callable[[], bool]) -> None:
    give_up = time.monotonic() + 20
    while not reached():
        assert time.monotonic() < give_up
        time.sleep(0.01)


@pytest.fixture
def asked(gateway: Gateway, fake: FakeTorchServe) -> Iterator[Callable[..., tuple[str, dict[str, int]]]]:
    """(X-Model, windows by model) of one request."""
    with httpx2.Client(base_url=gateway.url, timeout=TIMEOUT_S) as client:

        def ask(path: str = "/v1/audio/transcriptions", **fields: str) -> tuple[str, dict[str, int]]:
            fake.asked.clear()
            answer = client.post(path, data=SOUND | fields, files={"file": ("a.wav", wav(tone(2.0)))})
            assert answer.status_code == 200, answer.text
            return answer.headers["X-Model"], dict(fake.asked)

        yield ask


@pytest.mark.parametrize(
    ("fields", "model"),
    [
        ({"language": "fr"}, "whisper"),
        ({"language": "hi"}, "hindi"),
        ({"language": "mr", "model": "whisper-1"}, "hindi"),
        ({"language": "Hindi", "model": "whisper"}, "hindi"),
        ({"language": "en"}, "english"),
        ({"language": "fr", "model": "hindi"}, "hindi"),
        ({"language": "hi", "model": "large"}, "large"),
        ({"language": "en", "model": "whisper-hindi-small"}, "hindi"),
        ({"model": "large"}, "large"),
    ],
)
def test_a_name_or_a_language_chooses(
    asked: Callable[..., tuple[str, dict[str, int]]], fields: dict[str, str], model: str
) -> None:
    assert asked(**fields) == (model, {model: 1})


def test_a_language_that_is_not_given_is_detected_by_the_default_model(
    asked: Callable[..., tuple[str, dict[str, int]]],
) -> None:
    """The fake hears the first of the languages that it may choose from."""
    assert asked(languages="hi,en") == ("hindi", {"whisper": 1, "hindi": 1})
    assert asked(languages="fr,hi") == ("whisper", {"whisper": 2})
    assert asked(languages="ne,hi", long_form="sequential") == ("hindi", {"whisper": 1, "hindi": 1})


def test_the_model_that_answers_knows_the_language_that_was_detected(
    fake: FakeTorchServe, asked: Callable[..., tuple[str, dict[str, int]]]
) -> None:
    fake.keep_windows = True
    asked(languages="hi,en")
    assert [(window.options.task, window.options.language) for window in fake.windows[-2:]] == [
        ("detect_language", None),
        ("transcribe", "hi"),
    ]


def test_streams_translations_and_plain_paths_are_routed_too(
    gateway: Gateway, asked: Callable[..., tuple[str, dict[str, int]]]
) -> None:
    assert asked(language="hi", stream="true")[0] == "hindi"
    with httpx2.Client(base_url=gateway.url, timeout=TIMEOUT_S) as client:
        files = {"file": ("a.wav", wav(tone(2.0)))}
        for path in ("/v1/audio/translations", "/transcribe/?language=hi"):
            answer = client.post(path, files=files)
            assert answer.status_code == 200, answer.text
            assert answer.headers["X-Model"] in MODELS


def test_the_openai_package_reads_names_states_and_answers(gateway: Gateway) -> None:
    with openai.OpenAI(api_key="none", base_url=f"{gateway.url}/v1", max_retries=0) as client:
        listed = {model.id: model.model_dump() for model in client.models.list()}
        assert list(listed) == [
            "fake",
            "whisper",
            "whisper-1",
            "hindi",
            "whisper-hindi-small",
            "english",
            "large",
        ]
        assert {model["state"] for model in listed.values()} == {"ready"}
        assert listed["hindi"]["languages"] == ["hi", "mr", "ne"]
        assert client.models.retrieve("hindi").model_dump()["state"] == "ready"
        raw = client.audio.transcriptions.with_raw_response.create(
            model="whisper-1", file=("a.wav", wav(tone(2.0))), language="hi", extra_body=SOUND
        )
        assert raw.headers["X-Model"] == "hindi" and raw.parse().text


def test_a_key_for_some_models_is_not_sent_to_others(
    fake: FakeTorchServe, start_gateway: StartGateway, tmp_path_factory: pytest.TempPathFactory
) -> None:
    fake.models = {"whisper", "hindi", "large"}  # english would fall back on whisper
    file = tmp_path_factory.mktemp("keys") / "keys.yaml"
    file.write_text(
        "keys:\n"
        "  - {name: one, key: sk-one-0123456789abc, models: [whisper-1]}\n"
        "  - {name: two, key: sk-two-0123456789abc, models: [english]}\n"
    )
    gateway = start_gateway(upstream={"models": MODELS}, access={"keys_file": file})
    wait(lambda: gateway.service.fleet.models["hindi"].state == "ready")
    with openai.OpenAI(api_key="sk-one-0123456789abc", base_url=f"{gateway.url}/v1", max_retries=0) as client:
        sound = ("a.wav", wav(tone(2.0)))
        raw = client.audio.transcriptions.with_raw_response.create(
            model="whisper-1", file=sound, language="hi", extra_body=SOUND
        )
        assert raw.headers["X-Model"] == "whisper"
        with pytest.raises(openai.NotFoundError):
            client.audio.transcriptions.create(model="hindi", file=sound, extra_body=SOUND)
    with httpx2.Client(
        base_url=gateway.url, headers={"Authorization": "Bearer sk-two-0123456789abc"}
    ) as http:
        answer = http.post("/v1/audio/transcriptions", data=SOUND, files={"file": ("a.wav", wav(tone(2.0)))})
        assert answer.status_code == 503, "its fallback is not for this key"


def test_a_model_that_never_loaded_leaves_the_others(
    fake: FakeTorchServe, start_gateway: StartGateway
) -> None:
    fake.models = {"whisper", "large"}  # TorchServe answers 404 for the others
    gateway = start_gateway(upstream={"models": MODELS})
    wait(lambda: gateway.service.fleet.models["large"].state == "ready")
    with httpx2.Client(base_url=gateway.url, timeout=TIMEOUT_S) as client:
        assert client.get("/health/ready").status_code == 200
        states = {model["id"]: model["state"] for model in client.get("/v1/models").json()["data"]}
        assert (states["whisper"], states["hindi"], states["english"]) == ("ready", "loading", "loading")

        def ask(**fields: str) -> httpx2.Response:
            files = {"file": ("a.wav", wav(tone(2.0)))}
            return client.post("/v1/audio/transcriptions", data=WHOLE | fields, files=files)

        assert ask(language="fr").headers["X-Model"] == "whisper"
        assert ask(model="large").headers["X-Model"] == "large"
        assert ask(language="en").headers["X-Model"] == "whisper", "english has a fallback, which says so"
        for refused in (ask(language="hi"), ask(model="hindi")):
            assert refused.status_code == 503 and "Retry-After" in refused.headers
            assert "the model hindi is not loaded" in refused.json()["error"]["message"]


def test_one_models_dead_worker_loses_nothing_of_the_others(
    gateway: Gateway, fake: FakeTorchServe, asked: Callable[..., tuple[str, dict[str, int]]]
) -> None:
    fake.models.discard("english")
    wait(lambda: gateway.service.fleet.models["english"].state == "down")
    assert asked(language="en") == ("whisper", {"whisper": 1}), "its fallback"
    assert asked(language="hi") == ("hindi", {"hindi": 1})
    assert asked(language="fr") == ("whisper", {"whisper": 1})
    fake.models.add("english")
    wait(lambda: gateway.service.fleet.models["english"].state == "ready")
    assert asked(language="en") == ("english", {"english": 1})


@pytest.mark.slow
async def test_two_hundred_mixed_requests_are_each_answered_by_the_right_model(
    gateway: Gateway, fake: FakeTorchServe
) -> None:
    """Workers die in between, and a model goes away and comes back."""
    kinds = [
        ({"language": "fr"}, "whisper"),
        ({"language": "hi"}, "hindi"),
        ({"model": "large", "language": "hi"}, "large"),
        ({"languages": "ne,fr"}, "hindi"),
    ]
    gate = asyncio.Semaphore(24)

    async def ask(client: httpx2.AsyncClient, number: int) -> None:
        fields, model = kinds[number % len(kinds)]
        async with gate:
            if number in (40, 90):
                fake.fail_next("die")
            if number == 60:
                fake.models.discard("large")
            if number == 110:
                fake.models.add("large")
            sound = wav(tone(2.0 + number / 100))
            answer = await client.post(
                "/v1/audio/transcriptions", data=SOUND | fields, files={"file": ("a.wav", sound)}
            )
        assert answer.status_code == 200, answer.text
        assert (answer.headers["X-Model"], bool(answer.json()["text"])) == (model, True), number
        texts[number] = answer.json()["text"]

    texts: dict[int, str] = {}
    async with (
        httpx2.AsyncClient(base_url=gateway.url, timeout=TIMEOUT_S) as client,
        asyncio.TaskGroup() as group,
    ):
        for number in range(200):
            group.create_task(ask(client, number))
    assert len(set(texts.values())) == 200, "every answer is about its own audio"
    assert fake.deaths == 2


def test_the_answer_and_the_metrics_name_the_model(
    gateway: Gateway, asked: Callable[..., tuple[str, dict[str, int]]]
) -> None:
    with httpx2.Client(base_url=gateway.url, timeout=TIMEOUT_S) as client:
        data = SOUND | {"language": "hi", "response_format": "verbose_json"}
        answer = client.post("/v1/audio/transcriptions", data=data, files={"file": ("a.wav", wav(tone(2.0)))})
        assert answer.json()["model"] == "hindi"
        lines = client.get("/metrics").text.splitlines()
    pairs = (line.rpartition(" ") for line in lines if not line.startswith("#"))
    values = {name: float(value) for name, _, value in pairs}
    labels = 'caller="local",model="hindi",route="/v1/audio/transcriptions",status="200"'
    assert values[f"whisper_gateway_requests_total{{{labels}}}"] == 1
    assert values['whisper_gateway_windows_total{model="hindi"}'] == 1
    assert values['whisper_gateway_audio_seconds_total{caller="local",model="hindi"}'] == 2.0
    assert values['whisper_gateway_model_ready{model="hindi"}'] == 1
    assert values['whisper_gateway_model_loads_total{model="hindi"}'] == 0
