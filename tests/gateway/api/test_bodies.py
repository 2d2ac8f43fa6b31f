"""Bare audio and JSON in place of a form: the same answers, the same refusals."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gateway.http import spool
from tests.gateway.api.conftest import StartGateway
from tests.gateway.served import Gateway

URL = "/v1/audio/transcriptions"
TYPES = ["audio/wav", "audio/mpeg; rate=16000", "AUDIO/X-WAV", "video/mp4", "application/octet-stream"]


def encoded(audio: bytes, **fields: Any) -> bytes:
    return json.dumps({"audio": base64.b64encode(audio).decode(), **fields}).encode()


def bare(http: httpx2.Client, audio: bytes, query: str = "", kind: str = "audio/wav", **headers: str) -> Any:
    return http.post(f"{URL}{query}", content=audio, headers={"Content-Type": kind, **headers})


def as_json(http: httpx2.Client, audio: bytes, path: str = URL, **fields: Any) -> Any:
    return http.post(path, content=encoded(audio, **fields), headers={"Content-Type": "application/json"})


@pytest.fixture
def form_answer(http: httpx2.Client, speech: Path) -> bytes:
    fields = {"language": "de", "response_format": "srt", "keywords[]": ["a", "b"]}
    return http.post(URL, files={"file": speech.read_bytes()}, data=fields).content


def test_bare_audio_with_options_in_the_address(
    http: httpx2.Client, gateway: Gateway, speech: Path, form_answer: bytes
) -> None:
    query = "?language=de&response_format=srt&keywords[]=a&keywords[]=b&temperature="
    for kind in TYPES:
        answer = bare(http, speech.read_bytes(), query, kind)
        assert (answer.status_code, answer.content) == (200, form_answer), answer.text
    assert gateway.uploads == []


def test_bare_audio_with_options_in_the_header(http: httpx2.Client, speech: Path, form_answer: bytes) -> None:
    options = json.dumps({"language": "hi", "response_format": "srt", "keywords": ["a", "b"]})
    answer = bare(http, speech.read_bytes(), "?language=de", **{"X-Whisper-Options": options})
    assert answer.content == form_answer


def test_header_options_beside_a_form(http: httpx2.Client, speech: Path, form_answer: bytes) -> None:
    headers = {"X-Whisper-Options": '{"language": "de", "response_format": "srt", "keywords": "a,b"}'}
    files = {"file": speech.read_bytes()}
    assert http.post(URL, files=files, data={"language": ""}, headers=headers).content == form_answer


@pytest.mark.parametrize("name", ["audio", "file", "data", "body"])
def test_json(http: httpx2.Client, gateway: Gateway, speech: Path, form_answer: bytes, name: str) -> None:
    body = {
        name: base64.b64encode(speech.read_bytes()).decode(),
        "language": "de",
        "response_format": "srt",
        "keywords": ["a", "b"],
        "temperature": None,
        "model": "",
        "stream": False,
    }
    assert http.post(URL, json=body).content == form_answer
    assert gateway.uploads == []


def test_a_stream_of_bare_audio(http: httpx2.Client, speech: Path) -> None:
    answer = bare(http, speech.read_bytes(), "?stream=true")
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert '"transcript.text.done"' in answer.text


def test_translations(http: httpx2.Client, speech: Path) -> None:
    answer = as_json(http, speech.read_bytes(), "/v1/audio/translations", response_format="verbose_json")
    assert (answer.json()["task"], answer.json()["language"]) == ("translate", "english")
    refused = as_json(http, speech.read_bytes(), "/v1/audio/translations", language="hi")
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "language")
    assert as_json(http, speech.read_bytes(), "/v1/audio/translations", language="").status_code == 200


@pytest.mark.parametrize(
    ("send", "status", "param"),
    [
        (lambda http, audio: bare(http, audio, "?beam_sise=5"), 400, "beam_sise"),
        (lambda http, audio: bare(http, audio, "?language=en&language=hi"), 400, "language"),
        (lambda http, audio: bare(http, audio, "?model=gpt-9"), 404, "model"),
        (lambda http, audio: bare(http, b""), 400, "file"),
        (lambda http, audio: bare(http, b"no audio"), 415, "file"),
        (lambda http, audio: bare(http, audio, **{"Content-Encoding": "gzip"}), 415, None),
        (lambda http, audio: bare(http, audio, **{"X-Whisper-Options": "{"}), 400, "X-Whisper-Options"),
        (lambda http, audio: bare(http, audio, kind="application/pdf"), 415, None),
        (lambda http, audio: as_json(http, audio, beam_sise=5), 400, "beam_sise"),
        (lambda http, audio: as_json(http, audio, model=["whisper", "x"]), 400, "model"),
        (lambda http, audio: as_json(http, audio, model=7), 400, "model"),
        (lambda http, audio: as_json(http, audio, model="gpt-9"), 404, "model"),
        (lambda http, audio: as_json(http, audio, f"{URL}?language=en"), 400, "language"),
    ],
)
def test_refusals(
    http: httpx2.Client, gateway: Gateway, tone_wav: bytes, send: Any, status: int, param: str
) -> None:
    answer = send(http, tone_wav)
    assert (answer.status_code, answer.json()["error"]["param"]) == (status, param), answer.text
    assert gateway.uploads == []


@pytest.mark.parametrize("kind", ["audio/wav", "application/json"])
def test_who_asks_and_how_much_is_looked_at_as_for_forms(
    start_gateway: StartGateway, tone_wav: bytes, kind: str
) -> None:
    gateway = start_gateway(
        access={"keys": ["sk-right-0123456789"]}, media={"max_upload_bytes": 100_000, "max_audio_s": 60.0}
    )
    big = b'{"audio": "' + b"A" * 2_000_000 if kind == "application/json" else bytes(2_000_000)
    headers = {"Content-Type": kind}
    assert httpx2.post(gateway.url + URL, content=big[:1_000], headers=headers).status_code == 401
    headers["Authorization"] = "Bearer sk-right-0123456789"
    assert httpx2.post(gateway.url + URL, content=big, headers=headers).status_code == 413

    def pieces() -> Any:  # without a Content-Length
        for first in range(0, len(big), 65_536):
            yield big[first : first + 65_536]

    assert httpx2.post(gateway.url + URL, content=pieces(), headers=headers).status_code == 413
    body = encoded(tone_wav) if kind == "application/json" else tone_wav
    assert httpx2.post(gateway.url + URL, content=body, headers=headers, timeout=60).status_code == 200
    assert gateway.uploads == []


@pytest.mark.parametrize("kind", ["audio/wav", "application/json"])
def test_a_full_disk_is_503(
    http: httpx2.Client, gateway: Gateway, tone_wav: bytes, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object, **named: object) -> None:
        raise OSError(28, "No space left on device")

    body = encoded(tone_wav) if kind == "application/json" else tone_wav
    monkeypatch.setattr(spool.tempfile, "NamedTemporaryFile", full)
    answer = http.post(URL, content=body, headers={"Content-Type": kind})
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "overloaded")
