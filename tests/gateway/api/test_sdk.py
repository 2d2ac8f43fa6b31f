"""OpenAI's own Python package, unmodified, against the gateway: every field and every format."""

from __future__ import annotations

import asyncio
import json
import math
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
import srt
import webvtt
from openai.types.audio import (
    Transcription,
    TranscriptionSegment,
    TranscriptionTextDeltaEvent,
    TranscriptionTextDoneEvent,
    TranscriptionTextSegmentEvent,
    TranscriptionVerbose,
    TranscriptionWord,
    Translation,
    TranslationVerbose,
)

from asr.audio import media
from asr.config import Limits
from asr.constants import SAMPLE_RATE
from asr.render.formats import render
from asr.request.options import RequestOptions
from asr.schema import DecodeStats, Transcript
from tests.asr.containers import tone, wav
from tests.gateway.api.conftest import WHOLE
from tests.gateway.served import Gateway

pytestmark = pytest.mark.slow

MODEL = "whisper-1"


def duration_s(speech: Path) -> float:
    """Seconds of the clip at 16 kHz, to the millisecond."""
    return round(len(media.decode(speech.read_bytes(), Limits()).samples) / SAMPLE_RATE, 3)


def create(client: openai.OpenAI, speech: Path, **fields: Any) -> Any:
    return client.audio.transcriptions.create(file=speech, model=MODEL, **fields)


def raw(client: openai.OpenAI, speech: Path, **fields: Any) -> Any:
    return client.audio.transcriptions.with_raw_response.create(file=speech, model=MODEL, **fields)


def test_json_is_the_default(client: openai.OpenAI, speech: Path) -> None:
    answer = raw(client, speech)
    assert answer.headers["content-type"] == "application/json"
    assert set(json.loads(answer.text)) == {"text", "languages", "usage"}
    parsed = Transcription.model_validate_json(answer.text)
    assert [language.code for language in parsed.languages or ()] == ["en"]
    assert parsed.text and parsed.usage is not None
    assert (parsed.usage.type, parsed.usage.seconds) == ("duration", math.ceil(duration_s(speech)))


def test_verbose_json(client: openai.OpenAI, speech: Path) -> None:
    answer = raw(client, speech, response_format="verbose_json")
    parsed = TranscriptionVerbose.model_validate_json(answer.text)
    assert (parsed.language, parsed.duration, parsed.words) == ("english", duration_s(speech), None)
    assert parsed.segments and parsed.text == "".join(segment.text for segment in parsed.segments).strip()
    assert parsed.segments[0].start < parsed.segments[-1].end <= parsed.duration
    assert json.loads(answer.text)["task"] == "transcribe"


@pytest.mark.parametrize(
    ("granularities", "present"),
    [
        (["segment"], {"segments"}),
        (["word"], {"words"}),
        (["word", "segment"], {"segments", "words"}),
        (openai.omit, {"segments"}),
    ],
)
def test_granularities(client: openai.OpenAI, speech: Path, granularities: Any, present: set[str]) -> None:
    answer = raw(client, speech, response_format="verbose_json", timestamp_granularities=granularities)
    assert {"segments", "words"} & set(json.loads(answer.text)) == present
    parsed = TranscriptionVerbose.model_validate_json(answer.text)
    if "words" in present:
        assert parsed.words and " ".join(word.word for word in parsed.words) == parsed.text
        assert all(word.start <= word.end for word in parsed.words)


def test_text(client: openai.OpenAI, speech: Path) -> None:
    answer = raw(client, speech, response_format="text")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert create(client, speech, response_format="text") == create(client, speech).text + "\n"


def test_srt(client: openai.OpenAI, speech: Path) -> None:
    cues = list(srt.parse(create(client, speech, response_format="srt")))
    assert " ".join(cue.content for cue in cues) == create(client, speech).text
    assert (
        raw(client, speech, response_format="srt").headers["content-type"].startswith("application/x-subrip")
    )


def test_vtt(client: openai.OpenAI, speech: Path) -> None:
    cues = webvtt.from_string(create(client, speech, response_format="vtt")).captions
    assert " ".join(cue.text for cue in cues) == create(client, speech).text
    assert raw(client, speech, response_format="vtt").headers["content-type"] == "text/vtt; charset=utf-8"


def test_word_cues(client: openai.OpenAI, speech: Path) -> None:
    text = create(client, speech, response_format="srt", timestamp_granularities=["word"])
    cues = list(srt.parse(text))
    assert [cue.content for cue in cues] == create(client, speech).text.split()


def test_logprobs(client: openai.OpenAI, speech: Path) -> None:
    answer = create(client, speech, include=["logprobs"])
    assert answer.logprobs
    spelled = b"".join(bytes(map(int, entry.bytes)) for entry in answer.logprobs).decode()
    assert spelled.strip() == answer.text
    assert all(entry.logprob <= 0 for entry in answer.logprobs)


@pytest.mark.parametrize(
    "fields",
    [
        {"language": "de"},
        {"languages": ["hi", "en"]},
        {"prompt": "नमस्ते, Harvard 🎧"},
        {"keywords": ["pastor", "zestful, hot cross bun"]},
        {"temperature": 0},
        {"temperature": 0.4},
        {"chunking_strategy": "auto"},
        {"chunking_strategy": {"type": "server_vad"}},
        {
            "chunking_strategy": {
                "type": "server_vad",
                "threshold": 0.3,
                "prefix_padding_ms": 100,
                "silence_duration_ms": 700,
            }
        },
        {"stream": False},
        {"timestamp_granularities": ["segment"]},
        {"extra_body": {"hotwords": ["canoe"], "beam_size": 2, "vad_filter": False}},
        {"extra_body": {"long_form": "sequential", "condition_on_previous_text": False}},
        {"extra_body": {"task": "translate"}},
    ],
    ids=lambda fields: "-".join(map(str, fields)) if isinstance(fields, dict) else None,
)
def test_every_field_is_taken(client: openai.OpenAI, speech: Path, fields: dict[str, Any]) -> None:
    assert create(client, speech, **fields).text


def test_fields_reach_the_windows(gateway: Gateway, client: openai.OpenAI, speech: Path, fake: Any) -> None:
    fake.windows.clear()
    fake.keep_windows = True
    try:
        create(client, speech, language="hi", temperature=0.3, extra_body={"best_of": 3, "task": "translate"})
    finally:
        fake.keep_windows = False
    options = fake.windows[0].options
    assert (options.language, options.temperature, options.best_of, options.task) == (
        "hi",
        0.3,
        3,
        "translate",
    )


def test_the_language_of_a_translation_is_english(client: openai.OpenAI, speech: Path) -> None:
    with pytest.warns(DeprecationWarning, match="."):  # the SDK's
        answer = client.audio.translations.create(
            file=speech, model=MODEL, response_format="verbose_json", prompt="names", temperature=0
        )
    assert answer.language == "english" and answer.text and answer.segments


@pytest.mark.parametrize("response_format", ["json", "text", "srt", "verbose_json", "vtt"])
def test_translations_have_every_format(client: openai.OpenAI, speech: Path, response_format: Any) -> None:
    with pytest.warns(DeprecationWarning, match="."):
        answer = client.audio.translations.create(file=speech, model=MODEL, response_format=response_format)
    shapes = {"json": Translation, "verbose_json": TranslationVerbose}
    assert type(answer) is shapes.get(response_format, str)
    if not isinstance(answer, str):
        type(answer).model_validate(answer.to_dict(), strict=True)
    assert create(client, speech).text.split()[0] in str(answer)


def test_answers_have_the_sdks_types_exactly(client: openai.OpenAI, speech: Path) -> None:
    both: Any = ["word", "segment"]
    verbose = create(client, speech, response_format="verbose_json", timestamp_granularities=both)
    for answer in (create(client, speech, include=["logprobs"]), verbose):
        type(answer).model_validate(answer.to_dict(), strict=True)
    assert (type(verbose), type(verbose.segments[0])) == (TranscriptionVerbose, TranscriptionSegment)
    assert type(verbose.words[0]) is TranscriptionWord


def test_the_sdk_takes_an_answer_without_a_language() -> None:
    silent: Any = Transcript("", (), None, "transcribe", SAMPLE_RATE, DecodeStats())  # type: ignore[arg-type]
    plain = Transcription.model_validate_json(render(silent, RequestOptions())[0], strict=True)
    assert plain.languages == []
    body, _ = render(silent, RequestOptions(response_format="verbose_json"))
    assert TranscriptionVerbose.model_validate_json(body, strict=True).language == ""


@pytest.mark.parametrize("name", ["stream", "chunking_strategy"])
def test_none_is_not_given(client: openai.OpenAI, speech: Path, name: str) -> None:
    assert create(client, speech, **{name: None}).text


def test_files_of_every_kind_the_sdk_takes(client: openai.OpenAI, speech: Path) -> None:
    content = speech.read_bytes()
    with speech.open("rb") as opened:
        texts = {
            client.audio.transcriptions.create(file=file, model=MODEL).text
            for file in (opened, content, ("नमस्ते.wav", content), ("a.wav", content, "audio/wav"))
        }
    assert len(texts) == 1


def test_models(client: openai.OpenAI) -> None:
    names = [model.id for model in client.models.list()]
    assert names == ["fake", "whisper", "whisper-1"]
    for name in names:
        assert client.models.retrieve(name).object == "model"


def test_each_listed_model_is_accepted(client: openai.OpenAI, speech: Path) -> None:
    texts = {client.audio.transcriptions.create(file=speech, model=m.id).text for m in client.models.list()}
    assert len(texts) == 1


def test_stream(client: openai.OpenAI, speech: Path) -> None:
    plain = create(client, speech).text
    events = list(create(client, speech, stream=True))
    deltas = [event.delta for event in events if isinstance(event, TranscriptionTextDeltaEvent)]
    assert "".join(deltas) == plain
    assert isinstance(events[-1], TranscriptionTextDoneEvent) and events[-1].text == plain
    for event in events:  # the SDK itself takes whatever comes
        type(event).model_validate(event.to_dict(), strict=True)
    assert {type(event) for event in events} == {
        TranscriptionTextDeltaEvent,
        TranscriptionTextSegmentEvent,
        TranscriptionTextDoneEvent,
    }


def test_a_streams_usage_is_in_tokens(client: openai.OpenAI, speech: Path) -> None:
    usage = list(create(client, speech, stream=True))[-1].usage
    assert usage.total_tokens == usage.input_tokens + usage.output_tokens
    assert usage.input_tokens == math.ceil(duration_s(speech) * 50) and usage.output_tokens > 0
    assert usage.seconds == create(client, speech).usage.seconds


def test_stream_with_logprobs(client: openai.OpenAI, speech: Path) -> None:
    *events, done = create(client, speech, stream=True, include=["logprobs"])
    assert isinstance(done, TranscriptionTextDoneEvent)
    told = [entry.to_dict() for entry in done.logprobs or ()]
    assert told and told == [e.to_dict() for e in create(client, speech, include=["logprobs"]).logprobs]
    deltas = [event for event in events if isinstance(event, TranscriptionTextDeltaEvent)]
    assert [entry.to_dict() for delta in deltas for entry in delta.logprobs or ()] == told


async def test_the_async_client(gateway: Gateway, speech: Path) -> None:
    async with openai.AsyncOpenAI(api_key="none", base_url=f"{gateway.url}/v1", max_retries=0) as client:
        plain = await client.audio.transcriptions.create(file=speech, model=MODEL)
        stream = await client.audio.transcriptions.create(file=speech, model=MODEL, stream=True)
        deltas = [event.delta async for event in stream if isinstance(event, TranscriptionTextDeltaEvent)]
        assert "".join(deltas) == plain.text
        assert [model.id async for model in client.models.list()][:1] == ["fake"]
        with pytest.raises(openai.BadRequestError) as refused:
            await client.audio.transcriptions.create(file=speech, model=MODEL, temperature=2)
        assert refused.value.param == "temperature"
        with pytest.raises(openai.NotFoundError):
            await client.models.retrieve("gpt-9")


async def test_sixty_four_clients_get_their_own_text(gateway: Gateway) -> None:
    """Each sends another audio, half of them streamed; each text names the samples it was made of."""
    signal = tone(8.0)
    files = [wav(signal[i * 1000 : i * 1000 + 16_000]) for i in range(64)]
    limits = httpx2.Limits(max_connections=64)
    async with openai.AsyncOpenAI(
        api_key="none",
        base_url=f"{gateway.url}/v1",
        max_retries=0,
        http_client=httpx2.AsyncClient(limits=limits, timeout=120),
    ) as client:

        async def text_of(file: bytes, stream: bool) -> str:
            fields: Any = {"file": file, "model": MODEL, "extra_body": WHOLE}
            if not stream:
                return (await client.audio.transcriptions.create(**fields)).text
            events = await client.audio.transcriptions.create(stream=True, **fields)
            return "".join([e.delta async for e in events if isinstance(e, TranscriptionTextDeltaEvent)])

        texts = await asyncio.gather(*(text_of(file, i % 2 == 0) for i, file in enumerate(files)))
        again = await asyncio.gather(*(text_of(file, i % 2 == 1) for i, file in enumerate(files[:8])))
    assert len(set(texts)) == 64
    assert again == texts[:8]
    assert gateway.uploads == []
