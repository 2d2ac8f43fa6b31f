"""WhisperClient.stream against a real socket: events live, retries before the first, breaks after it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.clients.fake_server import (
    TEXT,
    FakeServer,
    deltas,
    events,
    openai_error,
    plain,
    reset,
    status,
)
from tests.clients.no_wait import NoWaitClient
from whisper_client import (
    BrokenStream,
    ServerRefused,
)


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
    server.play(status(503), reset, status(500, "Worker died."))
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
