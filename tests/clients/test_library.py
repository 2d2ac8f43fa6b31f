"""WhisperClient.transcribe against a real socket: forms, retries, failures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.clients.fake_server import (
    TEXT,
    Behaviour,
    FakeServer,
    openai_error,
    reset,
    slow,
    status,
    truncated,
)
from tests.clients.no_wait import NoWaitClient
from whisper_client import (
    BadArgument,
    NoServer,
    ServerRefused,
    ServerTimeout,
    ServerUnreachable,
    openai_url,
)
from whisper_client import __all__ as public_names

WORKER_DIED = status(500, "Worker died.")


def test_the_public_names() -> None:
    assert public_names == sorted(
        public_names, key=lambda name: (not name.isupper(), name[0].islower(), name)
    )


def test_a_file_arrives_with_its_options(server: FakeServer, client: NoWaitClient, clip: Path) -> None:
    reply = client.transcribe(
        clip, language="hi", temperature=0.2, vad_filter=False, beam_size=None,
        timestamp_granularities=["word", "segment"], prompt="दिल्ली",
    )  # fmt: skip
    assert (reply.status, reply.text, reply.tries, reply.ok) == (200, TEXT, 1, True)
    assert reply.seconds > 0
    (request,) = server.received
    assert request.path == "/predictions/whisper"
    assert request.file_bytes == clip.read_bytes() and request.file_name == "clip.wav"
    assert request.fields == {
        "language": ["hi"],
        "temperature": ["0.2"],
        "vad_filter": ["false"],
        "timestamp_granularities[]": ["word,segment"],  # TorchServe keeps one of repeated fields
        "prompt": ["दिल्ली"],
    }
    assert "Authorization" not in request.headers


def test_values_with_commas_stay_whole(server: FakeServer, client: NoWaitClient, clip: Path) -> None:
    client.transcribe(clip, hotwords=["Delhi, India", "नमस्ते"], languages=["hi", "en"], clip_timestamps=[])
    (request,) = server.received
    assert json.loads(request.fields["hotwords"][0]) == ["Delhi, India", "नमस्ते"]
    assert request.fields["languages"] == ["hi,en"]
    assert "clip_timestamps" not in request.fields


def test_an_openai_address_gets_openais_form(server: FakeServer, clip: Path) -> None:
    with NoWaitClient(openai_url(server.root)) as client:
        client.transcribe(clip, timestamp_granularities=["word", "segment"], include=["logprobs"])
    (request,) = server.received
    assert request.path == "/v1/audio/transcriptions"
    assert request.fields == {
        "model": ["whisper-1"],
        "timestamp_granularities[]": ["word", "segment"],
        "include[]": ["logprobs"],
    }


@pytest.mark.parametrize(
    ("base", "url"),
    [
        ("http://h:8000", "http://h:8000/v1/audio/transcriptions"),
        ("http://h:8000/", "http://h:8000/v1/audio/transcriptions"),
        ("http://h:8000/v1", "http://h:8000/v1/audio/transcriptions"),
        ("https://h/api/v1/", "https://h/api/v1/audio/transcriptions"),
        ("http://h/v1/audio/transcriptions", "http://h/v1/audio/transcriptions"),
        ("http://h/v1/audio/translations", "http://h/v1/audio/translations"),
    ],
)
def test_openai_addresses(base: str, url: str) -> None:
    assert openai_url(base) == url


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"RIFF....WAVE", "audio.wav"),
        (b"fLaC", "audio.flac"),
        (b"\0\0\0\x20ftypM4A ", "audio.m4a"),
        (b"??", "audio"),
    ],
)
def test_bytes_get_the_name_their_signature_tells(
    server: FakeServer, client: NoWaitClient, content: bytes, name: str
) -> None:
    client.transcribe(content)
    assert (server.received[0].file_name, server.received[0].file_bytes) == (name, content)


@pytest.mark.parametrize(
    ("failures", "causes"),
    [
        ([status(503, "busy")], ("http 503",)),
        ([status(503), status(507), WORKER_DIED], ("http 503", "http 507", "worker died")),
        ([reset], ("connection",)),
        ([truncated], ("connection",)),
        ([reset, truncated, status(502), status(429)], ("connection", "connection", "http 502", "http 429")),
    ],
)
def test_passing_failures_are_tried_again(
    server: FakeServer, client: NoWaitClient, clip: Path, failures: list[Behaviour], causes: tuple[str, ...]
) -> None:
    server.play(*failures)
    reply = client.transcribe(clip)
    assert (reply.text, reply.tries, reply.causes) == (TEXT, len(failures) + 1, causes)
    assert len(client.waits) == len(failures)
    assert {request.file_bytes for request in server.received} == {clip.read_bytes()}  # sent whole each time


@pytest.mark.parametrize("code", [400, 404, 413, 415, 422, 500])
def test_final_answers_are_not(server: FakeServer, client: NoWaitClient, clip: Path, code: int) -> None:
    server.play(openai_error(code, "language must be a code"))
    reply = client.transcribe(clip)
    assert (reply.status, reply.tries, reply.ok) == (code, 1, False)
    with pytest.raises(ServerRefused, match=rf"{code}: language must be a code") as refused:
        reply.raise_for_status()
    assert refused.value.status == code


def test_retry_after_is_honoured(server: FakeServer, client: NoWaitClient, clip: Path) -> None:
    server.play(status(503, Retry_After="7"), status(503, Retry_After="100000"))
    reply = client.transcribe(clip)
    assert (reply.status, reply.tries) == (503, 2)  # a day is longer than anybody waits
    assert len(client.waits) == 1 and 7 <= client.waits[0] < 7.5


def test_tries_are_bounded(server: FakeServer, clip: Path) -> None:
    with NoWaitClient(server.url, retries=2) as client:
        server.play(*[status(503, "no worker")] * 9)
        assert client.transcribe(clip).tries == 3
        server.script[:] = [reset] * 9
        with pytest.raises(ServerUnreachable, match="broke after 3 tries") as broken:
            client.transcribe(clip)
    assert (broken.value.tries, broken.value.causes) == (3, ("connection",) * 3)
    assert len(server.received) == 6


def test_a_file_that_kills_workers_is_given_up(server: FakeServer, client: NoWaitClient, clip: Path) -> None:
    server.play(*[WORKER_DIED] * 9)
    assert client.transcribe(clip).status == 500
    assert len(server.received) == 4


def test_a_silent_server_is_left(server: FakeServer, clip: Path) -> None:
    with NoWaitClient(server.url, timeout_s=0.2, retries=1) as client:
        server.play(slow, slow)
        with pytest.raises(
            ServerTimeout, match=r"within 0.2 s after 2 tries: give a longer --timeout"
        ) as late:
            client.transcribe(clip)
    assert late.value.causes == ("timeout", "timeout")


def test_no_server_is_said_at_once(free_port: int, clip: Path) -> None:
    with NoWaitClient(f"http://127.0.0.1:{free_port}/predictions/whisper") as client:
        with pytest.raises(NoServer, match=r"\./serve\.sh"):
            client.transcribe(clip)
        assert client.waits == []


def test_a_server_that_was_there_is_waited_for(server: FakeServer, free_port: int, clip: Path) -> None:
    with NoWaitClient(server.url) as client:
        client.transcribe(clip)
        client._transport.url = f"http://127.0.0.1:{free_port}/"  # as if it had gone for a restart

        def come_back(seconds: float) -> None:
            client.waits.append(seconds)
            if len(client.waits) == 2:
                client._transport.url = server.url

        client._transport._sleep = come_back
        assert client.transcribe(clip).causes == ("connection", "connection")


def test_an_unreadable_file_is_the_callers_fault(client: NoWaitClient, tmp_path: Path) -> None:
    with pytest.raises(BadArgument, match=r"cannot read .*nothing.wav"):
        client.transcribe(tmp_path / "nothing.wav")
    with pytest.raises(BadArgument, match="empty"):
        client.transcribe(b"")
    with pytest.raises(BadArgument, match="option vad is dict"):
        client.transcribe(b"RIFF", vad={"threshold": 1})
