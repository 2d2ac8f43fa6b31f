"""A family beside Whisper behind the same API: routing, formats, and options that mean nothing there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
import srt

from tests.asr.containers import tone, wav
from tests.asr.piece_hypotheses import HINDI, spoken
from tests.gateway.api.conftest import TIMEOUT_S, StartGateway
from tests.gateway.api.test_several_models import wait
from tests.gateway.fake_torchserve import FakeTorchServe

SOUND = {"vad_filter": "false"}
WORD_TIMES = {"timestamp_granularities": ["word", "segment"]}


@pytest.fixture(scope="module")
def served() -> Iterator[FakeTorchServe]:
    """Whisper, and a CTC model of Hindi that hears a word every third of a second."""
    with FakeTorchServe(delay_s=0.005) as fake:
        fake.models = {"whisper", "hindi"}
        fake.unlike = {"hindi": (HINDI, spoken)}
        yield fake


@pytest.fixture
def http(served: FakeTorchServe, start_gateway: StartGateway) -> Iterator[httpx2.Client]:
    gateway = start_gateway(served, upstream={"models": {"hindi": {"languages": ["hi"]}}})
    wait(lambda: all(model.state == "ready" for model in gateway.service.fleet.models.values()))
    with httpx2.Client(base_url=gateway.url, timeout=TIMEOUT_S) as client:
        yield client


def asked(http: httpx2.Client, path: str = "transcriptions", **fields: Any) -> httpx2.Response:
    files = {"file": ("a.wav", wav(tone(2.0)))}
    return http.post(f"/v1/audio/{path}", data=SOUND | fields, files=files)


def test_it_answers_by_name_and_by_language_in_every_format(http: httpx2.Client) -> None:
    text = "ek do tin char panch ek"
    named = asked(http, model="hindi", response_format="verbose_json", **WORD_TIMES).json()
    assert (named["text"], named["language"], named["model"]) == (text, "hindi", "hindi")
    assert [word["word"] for word in named["words"]] == text.split()
    assert [word["start"] for word in named["words"]][:3] == [0.0, 0.333, 0.666]
    by_language = asked(http, language="hi", response_format="text")
    assert by_language.text == f"{text}\n" and by_language.headers["X-Model"] == "hindi"
    [cue] = srt.parse(asked(http, model="hindi", response_format="srt").text)
    assert cue.content == text and cue.end.total_seconds() == 2.0
    events = asked(http, model="hindi", stream="true").text
    assert f'"type": "transcript.text.done", "text": "{text}"' in events


@pytest.mark.parametrize(
    ("path", "fields", "param", "message"),
    [
        ("transcriptions", {"temperature": "0.3"}, "temperature", "temperature is 0.3, not with this model"),
        ("transcriptions", {"prompt": "Asha"}, "prompt", "prompt is 'Asha', not with this model"),
        ("transcriptions", {"beam_size": "5"}, "beam_size", "beam_size is 5, not with this model"),
        ("transcriptions", {"task": "translate"}, "task", "task is 'translate', not with this model"),
        ("translations", {}, "task", "task is 'translate', not with this model"),
        ("transcriptions", {"language": "fr"}, "language", "language is 'fr', must be one of the model's"),
    ],
)
def test_what_it_cannot_do_is_a_400_before_any_window(
    http: httpx2.Client, served: FakeTorchServe, path: str, fields: dict[str, str], param: str, message: str
) -> None:
    served.asked.clear()
    answer = asked(http, path, model="hindi", **fields)
    assert answer.status_code == 400 and not served.asked
    error = answer.json()["error"]
    assert error["param"] == param and error["message"].startswith(message)


def test_a_language_that_is_named_takes_the_request_with_all_its_options(http: httpx2.Client) -> None:
    assert asked(http, language="hi", prompt="Asha").status_code == 400
    assert asked(http, language="fr", prompt="Asha").headers["X-Model"] == "whisper"


def test_a_detected_language_leaves_whisper_what_its_model_cannot_do(http: httpx2.Client) -> None:
    """The fake detects the first of `languages`."""
    assert asked(http, languages="hi").headers["X-Model"] == "hindi"
    assert asked(http, languages="hi", prompt="Asha").headers["X-Model"] == "whisper"


def test_its_name_and_its_languages_are_listed(http: httpx2.Client) -> None:
    models = {model["id"]: model for model in http.get("/v1/models").json()["data"]}
    assert models["hindi"]["languages"] == ["hi"] and models["hindi"]["state"] == "ready"


def test_a_default_model_that_detects_nothing(served: FakeTorchServe, start_gateway: StartGateway) -> None:
    gateway = start_gateway(served, upstream={"model": "hindi", "models": {"whisper": {"languages": ["fr"]}}})
    wait(lambda: all(model.state == "ready" for model in gateway.service.fleet.models.values()))
    with httpx2.Client(base_url=gateway.url, timeout=TIMEOUT_S) as http:
        assert asked(http).headers["X-Model"] == "hindi"
        file = {"audio_file": ("a.wav", wav(tone(2.0)))}
        answer = http.post("/detect-language", files=file)
        assert answer.status_code == 400 and "detects no language" in answer.text
        assert http.get("/").status_code == 200
