"""The plain paths of other Whisper services."""

from __future__ import annotations

import json
from pathlib import Path

import httpx2
import pytest

from tests.gateway.api.conftest import StartGateway
from tests.gateway.api.malformed import BOUNDARY, END, part


def plain(http: httpx2.Client, speech: Path, language: str) -> str:
    with speech.open("rb") as file:
        answer = http.post("/v1/audio/transcriptions", files={"file": file}, data={"language": language})
    text: str = answer.json()["text"]
    return text


def test_transcribe(http: httpx2.Client, speech: Path) -> None:
    answer = http.post("/transcribe/?language=de", files={"file": speech.read_bytes()})
    assert answer.json() == {"text": plain(http, speech, "de")}


def test_transcribe_without_the_slash_is_redirected(http: httpx2.Client, speech: Path) -> None:
    answer = http.post("/transcribe", files={"file": speech.read_bytes()}, follow_redirects=True)
    assert answer.json()["text"]


@pytest.mark.parametrize("path", ["/transcribe/", "/transcribe_batch/", "/transcribe_stream/"])
def test_the_language_is_checked(http: httpx2.Client, speech: Path, path: str) -> None:
    answer = http.post(f"{path}?language=klingon", files={"file": speech.read_bytes()})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "language")


@pytest.mark.parametrize("path", ["/transcribe/", "/transcribe_batch/", "/transcribe_stream/"])
def test_other_fields_are_refused(http: httpx2.Client, speech: Path, path: str) -> None:
    answer = http.post(path, files={"file": speech.read_bytes()}, data={"response_format": "srt"})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "response_format")


def test_a_batch_answers_every_file_for_itself(http: httpx2.Client, speech: Path, tone_wav: bytes) -> None:
    files = [
        ("files", ("speech.wav", speech.read_bytes())),
        ("files", ("../notes.txt", b"no audio")),
        ("files", ("नमस्ते.wav", speech.read_bytes())),
        ("files", ("empty.wav", b"")),
    ]
    results = http.post("/transcribe_batch/?language=en", files=files).json()["results"]
    assert [result["filename"] for result in results] == [file[1][0] for file in files]
    text = plain(http, speech, "en")
    assert [result.get("text") for result in results] == [text, None, text, None]
    assert results[1]["error"]["code"] == "unsupported_media"
    assert results[3]["error"]["code"] == "invalid_audio"


def test_a_batch_costs_a_request_per_file(start_gateway: StartGateway, tone_wav: bytes) -> None:
    gateway = start_gateway(access={"requests_per_minute": 3})
    url = f"{gateway.url}/transcribe_batch/?language=en"
    answer = httpx2.post(url, files=[("files", tone_wav)] * 4, timeout=60)
    assert (answer.status_code, answer.json()["error"]["param"]) == (413, "files")
    answer = httpx2.post(url, files=[("files", tone_wav)] * 2, timeout=60)
    assert answer.status_code == 200 and len(answer.json()["results"]) == 2
    answer = httpx2.post(url, files=[("files", tone_wav)], timeout=60)  # the first cost one too
    assert answer.status_code == 429 and int(answer.headers["retry-after"]) >= 1


@pytest.mark.parametrize(
    ("parameters", "name"),
    [
        ("filename*=utf-8''%E0%A4%A8%E0%A4%AE%E0%A4%B8%E0%A5%8D%E0%A4%A4%E0%A5%87.wav", "नमस्ते.wav"),
        ("filename*=UTF-8'hi'a%22%3B%5Cb.wav; x=y", 'a";\\b.wav'),
        ("filename*=iso-8859-1''caf%E9.wav", "café.wav"),
        ("filename*=utf-8''%ff.wav", "\ufffd.wav"),
        ('filename="plain.wav"; filename*=utf-8other.wav', "plain.wav"),
        ('filename="नमस्ते.wav"', "नमस्ते.wav"),
    ],
)
def test_a_files_name_in_every_spelling(
    http: httpx2.Client, tone_wav: bytes, parameters: str, name: str
) -> None:
    body = part(f'form-data; name="files"; {parameters}'.encode(), tone_wav) + END
    content_type = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY.decode()}"}
    answer = http.post("/transcribe_batch/", content=body, headers=content_type)
    assert [result["filename"] for result in answer.json()["results"]] == [name]


def test_a_batch_too_many(http: httpx2.Client, tone_wav: bytes) -> None:
    answer = http.post("/transcribe_batch/", files=[("files", tone_wav)] * 33)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_form")


def test_stream(http: httpx2.Client, speech: Path) -> None:
    answer = http.post("/transcribe_stream/?language=en", files={"file": speech.read_bytes()})
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = [json.loads(line[6:]) for line in answer.text.split("\n\n") if line]
    assert events[-1]["text"] == plain(http, speech, "en")


@pytest.mark.parametrize("path", ["/transcribe/", "/transcribe_batch/", "/transcribe_stream/"])
def test_a_form_without_a_file(http: httpx2.Client, path: str) -> None:
    answer = http.post(path, data={"file": "text"}, files={"other": b"x"})
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")


@pytest.mark.parametrize(
    ("path", "param", "message"),
    [
        ("/transcribe/?lang=hi", "lang", "'lang' is no parameter of /transcribe/"),
        ("/transcribe_batch/?language=en&x", "x", "'x' is no parameter of /transcribe_batch/"),
        ("/transcribe_stream/?task=translate", "task", "'task' is no parameter"),
        ("/visualize/?format=gif", "format", "format is 'gif', must be 'png' or 'svg'"),
        ("/visualize/?formt=svg", "formt", "'formt' is no parameter of /visualize/"),
    ],
)
def test_the_query_is_checked(http: httpx2.Client, speech: Path, path: str, param: str, message: str) -> None:
    answer = http.post(path, files={"file": speech.read_bytes()})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
    assert message in answer.json()["error"]["message"]


@pytest.mark.parametrize("path", ["/transcribe/?lang=hi", "/visualize/?format=gif"])
def test_who_asks_comes_before_what_is_asked(start_gateway: StartGateway, path: str) -> None:
    gateway = start_gateway(access={"keys": ["sk-right-0123456789"]})
    assert httpx2.post(gateway.url + path, files={"file": b"x"}, timeout=30).status_code == 401
