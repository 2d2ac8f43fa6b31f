"""What a caller gets for good requests, over HTTP."""

from __future__ import annotations

import base64
import json
import threading

import pytest
import requests

from asr.constants import HOP_LENGTH, SAMPLE_RATE
from asr.schema import DecodingOptions, Window
from asr.wire import messages
from tests.asr.containers import CONTAINERS, stored, tone, wav
from tests.live.server.calls import PLAIN, PLAIN_JSON, Api

pytestmark = pytest.mark.server
CODECS = ("flac", "mp3", "ogg_opus", "m4a", "webm", "amr", "wma")


def test_every_input_form_gets_the_same_answer(api: Api, speech: bytes) -> None:
    encoded = base64.b64encode(speech).decode()
    options = {"X-Whisper-Options": json.dumps(PLAIN_JSON)}
    answers = [
        api.form(speech),
        api.form(speech, "v1/audio/transcriptions", model="whisper-1"),
        api.send(data=speech, headers={"Content-Type": "audio/wav", **options}),
        api.send(data=speech, headers={"Content-Type": "application/octet-stream", **options}),
        api.send(data=iter([speech[:1000], speech[1000:]]), headers=options),  # chunked, no content type
        api.send(json={"audio": encoded, **PLAIN_JSON}),
        api.send(json={"audio": f"data:audio/wav;base64,{encoded}", **PLAIN_JSON}),
        api.send(files={"audio": speech}, data=PLAIN),
        api.send(files={"data": ("नमस्ते.wav", speech, "audio/wav")}, data=PLAIN),
        api.send(method="PUT", data=speech, headers=options),
    ]
    assert [answer.status_code for answer in answers] == [200] * len(answers), [a.text for a in answers]
    assert len({answer.content for answer in answers}) == 1
    assert set(answers[0].json()) == {"text", "languages", "usage"}


@pytest.mark.parametrize(
    ("name", "content_type", "beginning"),
    [
        ("json", "application/json", "{"),
        ("text", "text/plain; charset=utf-8", ""),
        ("srt", "application/x-subrip; charset=utf-8", "1\n00:00:0"),
        ("vtt", "text/vtt; charset=utf-8", "WEBVTT"),
        ("tsv", "text/tab-separated-values; charset=utf-8", "start\tend\ttext"),
        ("verbose_json", "application/json", "{"),
    ],
)
def test_formats(api: Api, speech: bytes, name: str, content_type: str, beginning: str) -> None:
    answer = api.form(speech, response_format=name)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == content_type
    assert answer.content.decode().startswith(beginning)


def test_verbose_json_with_words(api: Api, speech: bytes) -> None:
    fields = {"response_format": "verbose_json", "timestamp_granularities": "word,segment"}
    answer = api.form(speech, **fields).json()
    assert answer["language"] == "english" and answer["task"] == "transcribe"
    assert answer["duration"] == pytest.approx((len(speech) - 44) / 2 / SAMPLE_RATE, abs=0.1)
    assert "".join(segment["text"] for segment in answer["segments"]).strip() == answer["text"]
    assert answer["words"]


@pytest.mark.parametrize("container", [c for c in CONTAINERS if c.name in CODECS], ids=lambda c: c.name)
def test_containers(api: Api, container: object) -> None:
    answer = api.form(stored(container, 2.0), response_format="verbose_json")  # type: ignore[arg-type]
    assert answer.status_code == 200, answer.text
    assert answer.json()["duration"] == pytest.approx(2.0, abs=0.1)


def test_both_long_form_modes(api: Api, speech: bytes) -> None:
    for mode in ("parallel", "sequential"):
        answer = api.form(speech, long_form=mode, response_format="verbose_json")
        assert answer.status_code == 200
        assert answer.json()["text"]


def test_silence_has_no_text(api: Api) -> None:
    fields = {"vad_filter": "true", "response_format": "verbose_json"}
    answer = api.form(wav(tone(3.0) * 0), **fields).json()
    assert answer["text"] == "" and answer["segments"] == []


def test_streaming_adds_up_to_the_plain_answer(api: Api, speech: bytes) -> None:
    plain = api.form(speech).json()["text"]
    answer = api.send(files={"file": speech}, data={**PLAIN, "stream": "true"}, stream=True)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    events = events_of(answer)
    kinds = [event["type"].rpartition(".")[2] for event in events]
    assert kinds[-1] == "done" and kinds[:2] == ["delta", "segment"]
    assert "".join(e["delta"] for e in events if e["type"].endswith("delta")) == plain
    assert events[-1]["text"] == plain


def test_stream_events_arrive_as_windows_finish(api: Api) -> None:
    """A babbling model fills every window to its cap, so 19 s become eight windows, four to a batch."""
    data = {
        **PLAIN,
        "stream": "true",
        "compression_ratio_threshold": "none",
    }  # else its babble passes for a loop
    answer = api.send(files={"file": wav(tone(19.0))}, data=data, stream=True)
    chunks = [chunk for chunk in answer.iter_content(chunk_size=None) if chunk]
    assert len(chunks) >= 2
    assert b"transcript.text.delta" in chunks[0] and b"transcript.text.done" not in chunks[0]
    assert b"transcript.text.done" in chunks[-1]


def test_a_refused_stream_has_a_status_of_its_own(api: Api, speech: bytes) -> None:
    answer = api.send(files={"file": speech}, data={**PLAIN, "stream": "true", "language": "xx"})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "language"


def test_healthz_and_model(api: Api) -> None:
    for method in ("GET", "POST"):
        health = api.send("healthz", method=method)
        assert (health.status_code, health.json()["status"]) == (200, "ok")
    model = api.send("model", method="GET").json()
    assert model["n_mels"] == 80 and model["n_text_ctx"] == 448 and model["max_batch_size"] == 4
    assert len(model["sha256"]) == 12


def test_the_management_api_describes_the_model(api: Api) -> None:
    url = f"{api.server.management}/models/whisper?customized=true"
    description = requests.get(url, timeout=30).json()[0]
    assert "n_text_ctx" in json.dumps(description)
    assert api.send("healthz").status_code == 200


def test_windows(api: Api) -> None:
    samples = (tone(3.0) * 32_767).astype("int16")
    window = Window(samples, len(samples) // HOP_LENGTH, DecodingOptions(language="en", max_tokens=10))
    headers = {"Content-Type": "application/octet-stream"}
    answers = [api.send("windows", data=messages.encode_window(window), headers=headers) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    hypothesis = messages.decode_hypothesis(answers[0].content)
    assert hypothesis.language == "en" and hypothesis.tokens
    assert hypothesis.tokens == messages.decode_hypothesis(answers[1].content).tokens


def test_mixed_requests_side_by_side(api: Api, speech: bytes) -> None:
    """Eight at once, of every kind, so that they share batches; each gets the answer it gets alone."""
    calls = [
        lambda: api.form(speech).content,
        lambda: api.form(speech, response_format="srt").content,
        lambda: api.form(b"no audio").content,
        lambda: api.send("healthz").content,
        lambda: api.form(speech, language="xx").content,
        lambda: api.form(wav(tone(1.0))).content,
        lambda: api.form(speech, response_format="verbose_json").json()["text"],
        lambda: api.send("model").content,
    ]
    alone = [call() for call in calls]
    together: list[object] = [None] * len(calls)

    def run(i: int) -> None:
        together[i] = calls[i]()

    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert together == alone


def events_of(answer: requests.Response) -> list[dict[str, object]]:
    return [json.loads(line[5:]) for line in answer.iter_lines() if line.startswith(b"data:")]
