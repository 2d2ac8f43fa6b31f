"""WhisperClient against a real socket: forms, retries, failures, streams, tokens."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.fake_server import (
    TEXT,
    Behaviour,
    FakeServer,
    deltas,
    events,
    openai_error,
    plain,
    reset,
    slow,
    status,
    truncated,
)
from whisper_client import (
    BadArgument,
    BrokenStream,
    ClientError,
    NoServer,
    ServerRefused,
    ServerTimeout,
    ServerUnreachable,
    WhisperClient,
    openai_url,
)
from whisper_client import __all__ as public_names
from whisper_client.retry import RetryPolicy
from whisper_client.transport import Transport

WORKER_DIED = status(500, "Worker died.")


class NoWaitClient(WhisperClient):
    """A client whose waits take no time; `waits` are the seconds it would have waited."""

    def __init__(
        self, url: str, token: str | None = None, *, timeout_s: float = 10, retries: int = 6
    ) -> None:
        super().__init__(url, token, timeout_s=timeout_s, retries=retries)
        self.waits: list[float] = []
        policy = RetryPolicy(retries=retries)
        rng = random.Random(0)
        self._transport = Transport(
            url, token, timeout_s=timeout_s, policy=policy, sleep=self.waits.append, rng=rng
        )


@pytest.fixture
def client(server: FakeServer) -> Iterator[NoWaitClient]:
    with NoWaitClient(server.url) as client:
        yield client


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


# -- streams


def test_events_arrive_in_order(server: FakeServer, client: NoWaitClient, clip: Path) -> None:
    found = [event.data for event in client.stream(clip, language="en")]
    assert found == deltas()
    assert server.received[0].fields == {"language": ["en"], "stream": ["true"]}


def test_events_are_live(server: FakeServer, client: NoWaitClient, clip: Path) -> None:
    """The first event is read while the server still holds back the second."""

    def behave(handler, request):  # type: ignore[no-untyped-def]
        events(deltas()[0], end="open")(handler, request)
        server.released.wait(20)
        handler.wfile.write(b'18\r\ndata: {"type": "late"}\n\n\r\n0\r\n\r\n')

    server.play(behave)
    stream = client.stream(clip)
    assert next(stream).data == deltas()[0]
    assert not server.released.is_set()
    server.released.set()
    assert next(stream).type == "late"


def test_a_stream_is_tried_again_before_its_first_event(
    server: FakeServer, client: NoWaitClient, clip: Path
) -> None:
    server.play(status(503), reset, WORKER_DIED)
    assert [event.data for event in client.stream(clip)] == deltas()
    assert len(server.received) == 4


@pytest.mark.parametrize("end", ["reset", "cut", "close"])
def test_a_stream_that_stops_early_is_an_error(
    server: FakeServer, client: NoWaitClient, clip: Path, end: str
) -> None:
    server.play(events(deltas()[0], end=end))
    stream = client.stream(clip)
    assert next(stream).data == deltas()[0]
    with pytest.raises(BrokenStream, match="send the file again"):
        next(stream)
    assert len(server.received) == 1  # the text already printed must not come twice


def test_an_error_event_ends_the_stream(server: FakeServer, client: NoWaitClient, clip: Path) -> None:
    server.play(events(deltas()[0], {"error": {"message": "out of memory", "code": "overloaded"}}))
    with pytest.raises(ServerRefused, match="stopped the stream: out of memory"):
        list(client.stream(clip))


def test_a_refused_stream_is_refused(server: FakeServer, client: NoWaitClient, clip: Path) -> None:
    server.play(openai_error(400, "language is 'xx'"))
    with pytest.raises(ServerRefused, match="400: language is 'xx'"):
        list(client.stream(clip))


def test_done_mark_ends_a_stream(server: FakeServer, client: NoWaitClient, clip: Path) -> None:
    server.play(events(deltas()[0], "[DONE]"))
    assert [event.data for event in client.stream(clip)] == deltas()[:1]


def test_a_server_without_streaming_still_answers(
    server: FakeServer, client: NoWaitClient, clip: Path
) -> None:
    server.play(plain(json.dumps({"text": TEXT}).encode(), "application/json"))
    (event,) = client.stream(clip)
    assert (event.type, event.data["text"]) == ("transcript.text.done", TEXT)


# -- tokens and addresses

SECRET = "s3cret-Token_42"


def test_the_token_is_sent(server: FakeServer, clip: Path) -> None:
    with NoWaitClient(server.url, f" {SECRET}\n") as client:
        client.transcribe(clip)
    assert server.received[0].headers["Authorization"] == f"Bearer {SECRET}"


def test_the_token_is_never_shown(
    server: FakeServer, clip: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(0)
    shown = []
    with NoWaitClient(server.url, SECRET, retries=0, timeout_s=0.2) as client:
        for behaviour in (status(400, "no"), status(503), reset, truncated, slow):
            server.play(behaviour)
            try:
                shown.append(repr(client.transcribe(clip).raise_for_status()))
            except ClientError as error:
                shown.append(f"{error} {error!r} {vars(error)}")
        shown.append(f"{client!r} {client._transport!r} {client._transport._auth!r}")
    with pytest.raises(BadArgument) as refused:
        WhisperClient(server.url, f"{SECRET} {SECRET}")
    shown += [str(refused.value), repr(refused.value), caplog.text, *capfd.readouterr()]
    assert len(shown) == 11
    assert SECRET not in "".join(shown)


def test_a_login_in_netrc_is_not_taken(
    server: FakeServer, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password other\nmachine 0.0.0.0 login me password other\n")
    monkeypatch.setenv("NETRC", str(netrc))
    for url in (server.url, server.url.replace("127.0.0.1", "0.0.0.0")):  # the second is no loopback address
        with NoWaitClient(url) as client:
            client.transcribe(clip)
    assert ["Authorization" in request.headers for request in server.received] == [False, False]


def test_a_proxy_is_not_asked_for_this_machine(
    server: FakeServer, free_port: int, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port}")
    with NoWaitClient(server.url) as client:
        assert client.transcribe(clip).ok


def test_a_redirect_is_not_followed(server: FakeServer, clip: Path) -> None:
    server.play(plain(b"", "text/plain", 302, Location="/elsewhere"))
    with NoWaitClient(server.url, SECRET) as client, pytest.raises(ServerRefused, match="redirect"):
        client.transcribe(clip).raise_for_status()
    assert len(server.received) == 1


@pytest.mark.parametrize(
    "url", ["", "127.0.0.1:8080", "ftp://h/x", "http://", "http://h:x/", "http://h:99999/", "http:///path"]
)
def test_an_address_that_cannot_be(url: str) -> None:
    with pytest.raises(BadArgument, match=r"is no address: write it as http://"):
        WhisperClient(url)


def test_a_login_in_the_address_is_refused_unquoted() -> None:
    with pytest.raises(BadArgument, match="WHISPER_TOKEN") as refused:
        WhisperClient(f"http://me:{SECRET}@host/")
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        (status(400, "Token is missing or InvalidKeyException"), "set WHISPER_TOKEN"),
        (openai_error(401, "bad key"), "set WHISPER_TOKEN"),
        (plain(b"", "text/plain", 413), "413 (too large); send a shorter or compressed file"),
        (
            plain(b"<html>\n<b>Bad\x1b[31m gateway</b>", "text/html", 418),
            "418: <html> <b>Bad?[31m gateway</b>",
        ),
        (status(404, "Model not found: whisper"), "Model not found: whisper; check the address"),
        (plain(b'{"error": "plain words"}', "application/json", 400), "400: plain words"),
        (openai_error(400, "x" * 999), f"400: {'x' * 400}…"),
        (plain(b'{"detail": [1]}', "application/json", 422), '422: {"detail": [1]}'),
    ],
)
def test_refusals_say_what_to_do(
    server: FakeServer, client: NoWaitClient, clip: Path, behaviour: Behaviour, words: str
) -> None:
    server.play(behaviour)
    with pytest.raises(ServerRefused) as refused:
        client.transcribe(clip).raise_for_status()
    assert words in str(refused.value) and "\n" not in str(refused.value)
