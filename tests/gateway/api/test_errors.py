"""Every failure has OpenAI's body and status, and the SDK raises its class for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest

from tests.gateway.api.by_hand import request_by_socket, wait_until
from tests.gateway.api.conftest import WHOLE, StartGateway
from tests.gateway.fake_torchserve import FakeTorchServe

pytestmark = pytest.mark.slow

URL = "/v1/audio/transcriptions"


def sdk(url: str, key: str = "none") -> openai.OpenAI:
    return openai.OpenAI(api_key=key, base_url=f"{url}/v1", max_retries=0, timeout=60)


def refused(client: openai.OpenAI, file: Any, **fields: Any) -> openai.APIStatusError:
    fields.setdefault("model", "whisper-1")
    with pytest.raises(openai.APIStatusError) as caught:
        client.audio.transcriptions.create(file=file, **fields)
    body = caught.value.response.json()
    assert set(body) == {"error"} and set(body["error"]) == {"message", "type", "param", "code"}
    assert body["error"]["message"]
    return caught.value


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"response_format": "diarized_json"}, "response_format"),
        ({"response_format": "JSON"}, "response_format"),
        ({"known_speaker_names": ["agent"]}, "known_speaker_names[]"),
        ({"known_speaker_references": ["data:audio/wav;base64,AAAA"]}, "known_speaker_references[]"),
        ({"timestamp_granularities": ["word"]}, "timestamp_granularities"),  # with json
        ({"timestamp_granularities": ["phoneme"]}, "timestamp_granularities"),
        ({"temperature": 1.5}, "temperature"),
        ({"language": "klingon"}, "language"),
        ({"languages": ["en", "tlh"]}, "languages"),
        ({"prompt": "x" * 5000}, "prompt"),
        ({"include": ["tokens"]}, "include"),
        ({"include": ["logprobs"], "response_format": "srt"}, "include"),
        ({"stream": True, "response_format": "vtt"}, "response_format"),
        ({"chunking_strategy": {"type": "server_vad", "threshold": 7}}, "chunking_strategy.threshold"),
        ({"chunking_strategy": "manual"}, "chunking_strategy"),
        ({"extra_body": {"beam_sise": 5}}, "beam_sise"),
        ({"prompt": "<|endoftext|>", "keywords": ["beer"]}, "prompt"),
        ({"prompt": "Beer.", "keywords": ["<|endoftext|>"]}, "hotwords"),
        ({"extra_body": {"prompt": ["a", "b"]}}, "prompt[]"),
    ],
    ids=str,
)
def test_400_names_the_field(client: openai.OpenAI, speech: Path, fields: Any, param: str) -> None:
    error = refused(client, speech, **fields)
    assert isinstance(error, openai.BadRequestError)
    assert (error.param, error.type) == (param, "invalid_request_error")


@pytest.mark.parametrize("name", ["language", "response_format", "timestamp_granularities[]"])
@pytest.mark.parametrize("path", ["transcriptions", "translations"])
def test_400_an_option_in_the_address(http: httpx2.Client, tone_wav: bytes, path: str, name: str) -> None:
    answer = http.post(f"/v1/audio/{path}", files={"file": tone_wav}, params={name: "hi", "api-version": "1"})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, name)


@pytest.mark.parametrize(
    "field",
    ["language", "languages[]", "task", "keywords[]", "hotwords", "include[]", "stream",
     "timestamp_granularities[]", "chunking_strategy", "chunking_strategy[type]"],
)  # fmt: skip
def test_translations_take_their_own_fields_only(http: httpx2.Client, tone_wav: bytes, field: str) -> None:
    answer = http.post("/v1/audio/translations", files={"file": tone_wav}, data={field: "en"})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, field)


def test_401(start_gateway: StartGateway, speech: Path) -> None:
    gateway = start_gateway(access={"keys": ["sk-right-0123456789"]})
    error = refused(sdk(gateway.url, "sk-wrong"), speech)
    assert isinstance(error, openai.AuthenticationError)
    assert error.code == "invalid_api_key" and error.response.headers["www-authenticate"] == "Bearer"
    with pytest.raises(openai.AuthenticationError):
        sdk(gateway.url, "sk-wrong").models.list()
    assert isinstance(refused(sdk(gateway.url, "sk-wrong"), bytes(30_000_000)), openai.AuthenticationError)
    for path in (URL, "/v1/audio/translations", "/transcribe/", "/transcribe_batch/", "/transcribe_stream/"):
        with speech.open("rb") as file:
            answer = httpx2.post(gateway.url + path, files={"file": file}, timeout=30)
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")
    assert (
        sdk(gateway.url, "sk-right-0123456789")
        .audio.transcriptions.create(file=speech, model="whisper-1")
        .text
    )


@pytest.mark.parametrize("model", ["gpt-9", "whisper-2", "../etc/passwd", "WHISPER-1"])
def test_404_unknown_model(client: openai.OpenAI, speech: Path, model: str) -> None:
    error = refused(client, speech, model=model)
    assert isinstance(error, openai.NotFoundError)
    assert (error.code, error.param) == ("model_not_found", "model")
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve(model)


def test_404_and_405_elsewhere(http: httpx2.Client) -> None:
    for method, path, status in (
        ("GET", "/v1/audio/speech", 404),
        ("POST", "/v1/chat/completions", 404),
        ("GET", URL, 405),
        ("DELETE", "/v1/models/whisper-1", 405),
        ("PATCH", "/transcribe/", 405),
    ):
        answer = http.request(method, path)
        assert (answer.status_code, answer.json()["error"]["type"]) == (status, "invalid_request_error")
        assert status == 404 or answer.headers["allow"]


@pytest.mark.parametrize(
    "path",
    ["/", "/page/app.js", "/page/settings.json", "/docs", "/health/ready", "/metrics", "/v1/models",
     "/v1/models/whisper-1", "/v1/models/other", "/nothing"],
)  # fmt: skip
def test_head_is_answered_as_get_without_the_body(http: httpx2.Client, path: str) -> None:
    whole, head = http.get(path), http.head(path)
    assert (head.status_code, head.content) == (whole.status_code, b"")
    assert head.headers["content-type"] == whole.headers["content-type"]


def test_413_too_many_seconds_and_bytes(start_gateway: StartGateway, speech: Path, tone_wav: bytes) -> None:
    client = sdk(start_gateway(media={"max_audio_s": 10, "max_upload_bytes": 3_000_000}).url)
    error = refused(client, speech)
    assert (error.status_code, error.code, error.param) == (413, "too_large", "file")
    error = refused(client, bytes(3_100_000))
    assert (error.status_code, error.code) == (413, "too_large")
    assert client.audio.transcriptions.create(file=tone_wav, model="whisper-1", extra_body=WHOLE).text


@pytest.mark.parametrize("file", [b"no audio at all", b"\x00" * 5000, b"RIFF\xff\xff\xff\xffWAVEfmt "])
def test_415_no_audio(client: openai.OpenAI, file: bytes) -> None:
    error = refused(client, file)
    assert (error.status_code, error.param) == (415, "file")


@pytest.mark.parametrize(("encoding", "status"), [("gzip", 415), ("identity", 200)])
def test_415_a_compressed_form(http: httpx2.Client, tone_wav: bytes, encoding: str, status: int) -> None:
    answer = http.post(URL, files={"file": tone_wav}, headers={"Content-Encoding": encoding})
    assert answer.status_code == status
    assert status == 200 or "Content-Encoding is 'gzip'" in answer.json()["error"]["message"]


def test_400_an_empty_file(client: openai.OpenAI) -> None:
    assert isinstance(refused(client, ("empty.wav", b"")), openai.BadRequestError)


@pytest.mark.parametrize(
    "path", [URL, "/v1/audio/translations", "/transcribe/", "/transcribe_stream/", "/visualize/"]
)
def test_400_the_at_sign_was_forgotten(http: httpx2.Client, path: str) -> None:
    """curl -F file=speech.wav"""
    answer = http.post(path, files={"file": (None, "speech.wav")})
    error = answer.json()["error"]
    assert (answer.status_code, error["param"], error["code"]) == (400, "file", "invalid_form")
    assert "curl -F file=@speech.wav" in error["message"]


def test_400_two_files(http: httpx2.Client, tone_wav: bytes) -> None:
    answer = http.post(URL, files=[("file", tone_wav), ("file", tone_wav)])
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "file")


def test_400_an_option_sent_as_a_file(http: httpx2.Client, tone_wav: bytes) -> None:
    answer = http.post("/v1/audio/transcriptions", files={"file": tone_wav, "prompt": b"x"})
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (400, "prompt")
    assert error["message"] == "prompt is one file too many, the form may have 1"


def test_429_limits(start_gateway: StartGateway, tone_wav: bytes) -> None:
    client = sdk(start_gateway(access={"requests_per_minute": 1}).url)
    client.audio.transcriptions.create(file=tone_wav, model="whisper-1", extra_body=WHOLE)
    error = refused(client, tone_wav)
    assert isinstance(error, openai.RateLimitError)
    assert int(error.response.headers["retry-after"]) >= 1
    client = sdk(start_gateway(access={"audio_seconds_per_minute": 3}).url)
    client.audio.transcriptions.create(file=tone_wav, model="whisper-1", extra_body=WHOLE)
    assert isinstance(refused(client, tone_wav, extra_body=WHOLE), openai.RateLimitError)


def test_429_queue_full(start_gateway: StartGateway, tone_wav: bytes) -> None:
    with FakeTorchServe() as slow:
        gateway = start_gateway(slow, admission={"max_queued_audio_s": 3})
        slow.delay_s = 60
        connection = request_by_socket(gateway, tone_wav, WHOLE)
        wait_until(lambda: gateway.service.admission.stats()["requests"] == 1)
        error = refused(sdk(gateway.url), tone_wav, extra_body=WHOLE)
        connection.close()
    assert isinstance(error, openai.RateLimitError)
    assert error.code == "queue_full" and int(error.response.headers["retry-after"]) >= 1


def test_500_the_engines_fault(fake: FakeTorchServe, client: openai.OpenAI, tone_wav: bytes) -> None:
    fake.fail_next("refused")
    error = refused(client, tone_wav, extra_body=WHOLE)
    assert isinstance(error, openai.InternalServerError)
    assert (error.status_code, error.code) == (500, "engine_failure")


def test_500_a_bug_is_told_in_the_same_shape(start_gateway: StartGateway, speech: Path) -> None:
    gateway = start_gateway()
    gateway.service.models = None  # type: ignore[method-assign,assignment]
    error = refused(sdk(gateway.url), speech)
    assert error.status_code == 500
    assert "NoneType" not in str(error)


def test_503_no_worker(start_gateway: StartGateway, speech: Path) -> None:
    with FakeTorchServe() as gone:
        pass
    gateway = start_gateway(gone, wait=False)
    error = refused(sdk(gateway.url), speech)
    assert isinstance(error, openai.InternalServerError)
    assert (error.status_code, error.code) == (503, "not_ready")
    assert error.response.headers["retry-after"]


def test_503_no_room(start_gateway: StartGateway, speech: Path, tmp_path: Path) -> None:
    gateway = start_gateway()
    (tmp_path / "spool-0").rmdir()  # stands for a full disk
    error = refused(sdk(gateway.url), speech)
    assert (error.status_code, error.code) == (503, "overloaded")
    assert error.response.headers["retry-after"]


def test_504_deadline(start_gateway: StartGateway, tone_wav: bytes) -> None:
    with FakeTorchServe() as slow:
        gateway = start_gateway(slow)
        slow.delay_s = 60
        deadline = {"X-Request-Deadline": "0.5"}
        error = refused(sdk(gateway.url), tone_wav, extra_headers=deadline, extra_body=WHOLE)
        assert (error.status_code, error.code) == (504, "deadline_exceeded")
        error = refused(sdk(gateway.url), tone_wav, extra_headers=deadline, extra_body=WHOLE, stream=True)
        assert error.status_code == 504
        assert gateway.uploads == []


@pytest.mark.parametrize("value", ["0", "-1", "soon", "nan", "inf", ""])
def test_400_a_deadline_that_is_none(client: openai.OpenAI, speech: Path, value: str) -> None:
    error = refused(client, speech, extra_headers={"X-Request-Deadline": value})
    assert error.param == "X-Request-Deadline"


def test_404_a_model_that_the_key_does_not_open(
    start_gateway: StartGateway, speech: Path, tmp_path: Path
) -> None:
    keys = tmp_path / "keys.yaml"
    keys.write_text(
        "keys:\n"
        "  - {name: some, key: key-for-some-models, models: [whisper-1]}\n"
        "  - {name: none, key: key-for-other-models, models: [large-v3]}\n"
    )
    gateway = start_gateway(access={"keys_file": str(keys)})
    some, none = (sdk(gateway.url, f"key-for-{which}-models") for which in ("some", "other"))
    assert [model.id for model in some.models.list()] == ["whisper-1"]
    assert list(none.models.list()) == []
    assert some.audio.transcriptions.create(file=speech, model="whisper-1").text
    for client, model in ((some, "fake"), (none, "whisper-1"), (none, "large-v3"), (none, openai.omit)):
        assert isinstance(refused(client, speech, model=model), openai.NotFoundError)
