"""A real TorchServe of Whisper and of models for sherpa-onnx: each answers by name and by language."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import openai
import pytest

from tests.asr.sherpa_folders import WORDS
from tests.gateway.realtime.streams import CHUNK_BYTES, silence_pcm, speech_pcm, stream
from tests.gateway.served import Gateway, settings_for
from tests.live.gateway.conftest import DEMO
from tests.live.gateway.test_api import SAMPLES, Upstream, reference
from tests.servers import Server
from whisper_client.scoring import normalised

pytest.importorskip("sherpa_onnx")

TIMEOUT_S = 120

pytestmark = [
    pytest.mark.server,
    pytest.mark.slow,
    pytest.mark.skipif(not DEMO.is_file(), reason="no demo checkpoint"),
]


@pytest.fixture(scope="module")
def torchserve(demo_server: Server) -> Server:
    return demo_server


@pytest.fixture(scope="module")
def gateway(torchserve: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    upstream = Upstream(torchserve.url, torchserve.management)
    models = {"hindi": {"languages": ["hi"]}, "live": {}}
    settings = settings_for(upstream, tmp_path_factory.mktemp("spool"), upstream={"models": models})
    with Gateway(settings) as running:
        _wait(lambda: all(each.state == "ready" for each in running.service.fleet.models.values()))
        yield running


@pytest.fixture(scope="module")
def sdk(gateway: Gateway) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(
        api_key="none", base_url=f"{gateway.url}/v1", max_retries=0, timeout=TIMEOUT_S
    ) as client:
        yield client


def _wait(reached: Callable[[], bool]) -> None:
    give_up = time.monotonic() + TIMEOUT_S
    while not reached():
        assert time.monotonic() < give_up
        time.sleep(0.05)


def heard(client: openai.OpenAI, model: str, clip: str = "hindi.opus", **fields: Any) -> Any:
    return client.audio.transcriptions.create(file=SAMPLES / clip, model=model, **fields)


def test_each_model_answers_by_its_name_and_by_its_language(sdk: openai.OpenAI) -> None:
    named = heard(sdk, "hindi", response_format="verbose_json")
    assert set(named.text.split()) == {"नमस्ते", "दुनिया"} and named.language == "hindi"
    assert heard(sdk, "whisper-1", language="hi").text == named.text
    assert set(heard(sdk, "live").text.split()) <= {word.strip("▁") for word in WORDS}
    whisper = heard(sdk, "whisper-1", "harvard.wav", language="en")
    assert normalised(whisper.text) == reference("harvard.wav")


def test_a_detected_language_goes_to_its_model(sdk: openai.OpenAI) -> None:
    assert set(heard(sdk, "whisper-1").text.split()) == {"नमस्ते", "दुनिया"}
    assert normalised(heard(sdk, "whisper-1", "harvard.wav").text) == reference("harvard.wav")


def test_words_have_times_in_every_format(sdk: openai.OpenAI) -> None:
    asked = {"timestamp_granularities": ["word", "segment"]}
    answer = heard(sdk, "hindi", response_format="verbose_json", **asked)
    times = [time for word in answer.words for time in (word.start, word.end)]
    assert times == sorted(times) and times[0] >= 0 and times[-1] <= answer.duration
    assert " ".join(word.word for word in answer.words) == answer.text
    assert answer.segments[0].avg_logprob is None and answer.segments[0].no_speech_prob is None
    for shape, mark in (("srt", "1\n00:00:"), ("vtt", "WEBVTT\n\n00:00:")):
        assert heard(sdk, "hindi", response_format=shape, **asked).startswith(mark)


def test_the_direct_route_answers_and_refuses_the_same(torchserve: Server, gateway: Gateway) -> None:
    urls = (f"{torchserve.url}/predictions/hindi", f"{gateway.url}/v1/audio/transcriptions")
    for fields, status in (({"response_format": "text"}, 200), ({"temperature": "0.7"}, 400)):
        answers = [_posted(url, {"language": "hi"} | fields) for url in urls]
        assert [answer.status_code for answer in answers] == [status, status], answers[0].text
        assert answers[0].text == answers[1].text
    assert "temperature is 0.7, not with this model" in answers[0].json()["error"]["message"]


def _posted(url: str, fields: dict[str, str]) -> httpx2.Response:
    with (SAMPLES / "hindi.opus").open("rb") as file:
        return httpx2.post(url, files={"file": file}, data=fields, timeout=TIMEOUT_S)


def test_a_killed_worker_costs_no_answer_and_the_others_nothing(
    sdk: openai.OpenAI, torchserve: Server, gateway: Gateway
) -> None:
    expected = heard(sdk, "hindi").text
    deaths = gateway.service.fleet.models["hindi"].dispatcher.stats()["deaths"]
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(heard, sdk, "hindi") for _ in range(8)]
        os.kill(torchserve.describe("hindi")["workers"][0]["pid"], signal.SIGKILL)
        asked += [pool.submit(heard, sdk, "hindi") for _ in range(8)]
        assert heard(sdk, "live").text
        assert {each.result(TIMEOUT_S).text for each in asked} == {expected}
    others = gateway.service.fleet.models
    assert all(others[name].dispatcher.stats()["deaths"] == 0 for name in ("whisper", "live"))
    assert gateway.service.fleet.models["hindi"].dispatcher.stats()["deaths"] >= deaths


def test_sound_on_which_the_library_ends_its_worker_fails_alone(sdk: openai.OpenAI, gateway: Gateway) -> None:
    """sherpa-onnx calls _Exit in the middle of a batch: the other windows are decoded by the next worker."""
    expected = heard(sdk, "live").text
    model = gateway.service.fleet.models["live"].dispatcher
    deaths = model.stats()["deaths"]
    in_one_window = {"vad_max_gap_s": "10"}  # of 16 s
    with ThreadPoolExecutor(5) as pool:
        deadly = pool.submit(heard, sdk, "live", "harvard.wav", extra_body=in_one_window)
        others = [pool.submit(heard, sdk, "live") for _ in range(4)]
        assert heard(sdk, "hindi").text and heard(sdk, "whisper-1", "harvard.wav", language="en").text
        assert {each.result(TIMEOUT_S).text for each in others} == {expected}
        with pytest.raises(openai.InternalServerError, match="the model server failed 2 times on this audio"):
            deadly.result(TIMEOUT_S)
    assert model.stats()["deaths"] >= deaths + 2
    assert heard(sdk, "live").text == expected


def test_a_stream_shows_its_words_and_loses_none_with_its_worker(
    torchserve: Server, gateway: Gateway
) -> None:
    """A look that meets the death is sent again, and the next worker is shown the whole turn."""
    pcm = speech_pcm(0.0, 5.0)
    with stream(gateway.url) as client:
        client.update(transcription={"model": "live"}, turn_detection=None)
        for index, first in enumerate(range(0, len(pcm), CHUNK_BYTES)):
            client.append(pcm[first : first + CHUNK_BYTES])
            time.sleep(0.02)
            if index == len(pcm) // CHUNK_BYTES // 2:
                os.kill(torchserve.describe("live")["workers"][0]["pid"], signal.SIGKILL)
        client.append(silence_pcm(0.5))
        client.commit()
        item_id = client.until(".committed", TIMEOUT_S)["item_id"]
        completed = client.until(".completed", TIMEOUT_S)
    words = {word.strip("▁") for word in WORDS}
    assert completed["transcript"] and set(completed["transcript"].split()) <= words
    shown = client.deltas(item_id).split()
    assert shown and set(shown) <= words and "error" not in client.types
