"""The gateway before a real TorchServe with the demo checkpoint: it hears what the samples say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
import srt
import webvtt
from openai.types.audio import TranscriptionTextDeltaEvent, TranscriptionTextDoneEvent

from tests.gateway.served import Gateway, settings_for
from tests.live.gateway.conftest import DEMO
from tests.servers import Server
from whisper_client.scoring import normalised

ROOT = Path(__file__).resolve().parents[3]
SAMPLES = ROOT / "samples"
CLIPS = {"harvard.wav": "english", "hindi.opus": "hindi"}
TIMEOUT_S = 120

pytestmark = [
    pytest.mark.server,
    pytest.mark.slow,
    pytest.mark.skipif(not DEMO.is_file(), reason="no demo checkpoint"),
]


@dataclass(frozen=True)
class Upstream:
    url: str
    management_url: str


@pytest.fixture(scope="module")
def torchserve(demo_server: Server) -> Server:
    return demo_server


@pytest.fixture(scope="module")
def live(torchserve: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    upstream = Upstream(torchserve.url, torchserve.management)
    with Gateway(settings_for(upstream, tmp_path_factory.mktemp("spool"))) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def sdk(live: Gateway) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(api_key="none", base_url=f"{live.url}/v1", max_retries=0, timeout=TIMEOUT_S) as client:
        yield client


def heard(client: openai.OpenAI, clip: str, **fields: Any) -> Any:
    return client.audio.transcriptions.create(file=SAMPLES / clip, model="whisper-1", **fields)


def reference(clip: str) -> str:
    return normalised((SAMPLES / clip).with_suffix(".txt").read_text(encoding="utf-8"))


@pytest.fixture(params=CLIPS)
def clip(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def test_json(sdk: openai.OpenAI, clip: str) -> None:
    assert normalised(heard(sdk, clip).text) == reference(clip)


def test_text(sdk: openai.OpenAI, clip: str) -> None:
    assert normalised(heard(sdk, clip, response_format="text")) == reference(clip)


def test_verbose_json(sdk: openai.OpenAI, clip: str) -> None:
    answer = heard(sdk, clip, response_format="verbose_json", timestamp_granularities=["word", "segment"])
    assert answer.language == CLIPS[clip]
    assert normalised(answer.text) == reference(clip)
    assert normalised("".join(segment.text for segment in answer.segments)) == reference(clip)
    assert normalised(" ".join(word.word for word in answer.words)) == reference(clip)
    times = [time for word in answer.words for time in (word.start, word.end)]
    assert times == sorted(times) and times[-1] <= answer.duration


def test_subtitles(sdk: openai.OpenAI, clip: str) -> None:
    cues = list(srt.parse(heard(sdk, clip, response_format="srt")))
    assert normalised(" ".join(cue.content for cue in cues)) == reference(clip)
    captions = webvtt.from_string(heard(sdk, clip, response_format="vtt")).captions
    assert normalised(" ".join(caption.text for caption in captions)) == reference(clip)


def test_stream(sdk: openai.OpenAI, clip: str) -> None:
    plain = heard(sdk, clip).text
    events = list(heard(sdk, clip, stream=True))
    deltas = [event.delta for event in events if isinstance(event, TranscriptionTextDeltaEvent)]
    assert "".join(deltas) == plain
    assert isinstance(events[-1], TranscriptionTextDoneEvent) and events[-1].text == plain


def test_the_direct_route_answers_the_same(torchserve: Server, live: Gateway, clip: str) -> None:
    fields = {"response_format": "verbose_json", "timestamp_granularities": "segment"}
    answers = []
    for url in (torchserve.predictions, f"{live.url}/v1/audio/transcriptions"):
        with (SAMPLES / clip).open("rb") as file:
            answer = httpx2.post(url, files={"file": file}, data=fields, timeout=TIMEOUT_S)
        answers.append(answer.json())
    direct, through = answers
    assert through["text"] == direct["text"]
    assert [segment["tokens"] for segment in through["segments"]] == [
        segment["tokens"] for segment in direct["segments"]
    ]


def test_silence_and_noise_say_nothing(sdk: openai.OpenAI) -> None:
    assert heard(sdk, "silence.wav").text == ""
    assert heard(sdk, "noise.flac").text == ""
