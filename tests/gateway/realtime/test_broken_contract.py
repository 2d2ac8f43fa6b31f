"""Clients that break the contract: an `error` that says so, and a stream that goes on."""

from __future__ import annotations

import base64
import json
import struct

import pytest

from tests.gateway.realtime.conftest import OpenStream, StartGateway
from tests.gateway.realtime.streams import Client, silence_pcm, speech_pcm, stream


def goes_on(client: Client) -> None:
    """The stream still takes a turn."""
    client.update(turn_detection=None)
    client.append(speech_pcm(0, 1.0))
    client.commit()
    client.until(".completed")


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ("{broken", "invalid_json"),
        ("[]", "invalid_json"),
        ('"text"', "invalid_json"),
        ("{}", "invalid_json"),
        ('{"type": 7}', "invalid_json"),
        ("[" * 100_000, "invalid_json"),
        (b"\x00\x01", "invalid_json"),
        ('{"type": "response.create"}', "unknown_event"),
        ('{"type": "conversation.item.create", "item": {}}', "unknown_event"),
        ('{"type": "input_audio_buffer.append"}', "invalid_value"),
        ('{"type": "input_audio_buffer.append", "audio": "?"}', "invalid_value"),
        ('{"type": "input_audio_buffer.append", "audio": 5}', "invalid_value"),
        ('{"type": "session.update"}', "invalid_value"),
        ('{"type": "session.update", "session": []}', "invalid_value"),
        ('{"type": "conversation.item.delete", "item_id": ["x"]}', "item_not_found"),
    ],
)
def test_a_frame_that_is_no_event(open_stream: OpenStream, frame: str | bytes, code: str) -> None:
    with open_stream() as client:
        client.socket.send(frame)
        error = client.until("error")["error"]
        assert (error["type"], error["code"], error["event_id"]) == ("invalid_request_error", code, None)
        goes_on(client)


def test_the_error_names_the_event_that_caused_it(open_stream: OpenStream) -> None:
    with open_stream() as client:
        client.send("no.such.event", event_id="my-7")
        assert client.until("error")["error"]["event_id"] == "my-7"


def test_less_than_100_ms_cannot_be_committed_and_stays(open_stream: OpenStream) -> None:
    with open_stream() as client:
        client.update(turn_detection=None)
        client.append(silence_pcm(0.05))
        client.send("input_audio_buffer.commit", event_id="early")
        error = client.until("error")["error"]
        assert error["code"] == "input_audio_buffer_commit_empty" and error["event_id"] == "early"
        assert error["message"].endswith(
            "buffer too small. Expected at least 100ms of audio, but buffer only has 50.00ms of audio."
        )
        client.append(silence_pcm(0.06))
        client.commit()
        assert client.until(".completed")["usage"]["seconds"] == 1


def test_a_second_commit_finds_nothing(open_stream: OpenStream) -> None:
    with open_stream() as client:
        client.update(turn_detection=None)
        client.append(speech_pcm(0, 1.0))
        client.commit()
        client.commit()
        client.until("error")
        client.until(".completed")
    error = next(event["error"] for event in client.events if event["type"] == "error")
    assert error["message"].endswith("buffer only has 0.00ms of audio.")


def test_an_append_of_20_mib_is_heard_whole(open_stream: OpenStream) -> None:
    with open_stream() as client:
        client.update(turn_detection=None, transcription={"delay": "xhigh"})
        audio = base64.b64encode(bytes(15 * 1024 * 1024)).decode()
        client.socket.send(json.dumps({"type": "input_audio_buffer.append", "audio": audio}))
        client.commit()
        assert client.until(".completed", 60)["usage"]["seconds"] == -(-15 * 1024 * 1024 // 48_000)
    assert "error" not in client.types


def test_a_frame_above_the_largest_append_ends_the_stream(open_stream: OpenStream) -> None:
    with open_stream() as client:
        # the head alone of a masked text frame: bytes behind it would be answered by a reset
        client.socket.socket.sendall(b"\x81\xff" + struct.pack("!Q", 23 * 1024 * 1024) + b"mask")
        assert client.closed()[0] == 1009


def test_twenty_violations_end_the_stream_for_good(open_stream: OpenStream) -> None:
    with open_stream() as client:
        for _ in range(20):
            client.socket.send("{")
        assert client.closed()[0] == 1008
    assert client.types.count("error") == 20


def test_more_audio_than_may_wait_is_dropped_with_an_error(start: StartGateway) -> None:
    gateway = start(realtime={"max_waiting_audio_s": 10})
    with stream(gateway.url) as client:
        client.update(turn_detection=None, transcription={"delay": "xhigh"})
        client.append(speech_pcm(0, 12))
        client.append(speech_pcm(0, 1))
        assert client.until("error")["error"]["code"] == "buffer_overflow"
        goes_on(client)


def test_a_turn_that_cannot_be_decoded_fails_alone(start: StartGateway) -> None:
    from tests.gateway.fake_torchserve import FakeTorchServe

    with FakeTorchServe() as fake:
        gateway = start(fake)
        with stream(gateway.url) as client:
            client.update(turn_detection=None, transcription={"delay": "xhigh"})
            fake.fail_next("refused")
            client.append(speech_pcm(0, 1.0))
            client.commit()
            failed = client.until(".failed")
            goes_on(client)
    assert failed["error"]["code"] == "engine_failure" and failed["content_index"] == 0
    assert "error" not in client.types
