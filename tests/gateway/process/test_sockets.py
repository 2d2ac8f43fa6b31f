"""WebSockets of the real process: its limits for requests end where a stream begins."""

from __future__ import annotations

import json
import signal
import socket
import struct
import time
from collections.abc import Iterator

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.gateway.fake_torchserve import FakeTorchServe
from tests.gateway.process.running import GatewayProcess, until
from tests.gateway.realtime.streams import counted, silence_pcm, speech_pcm, stream

pytestmark = pytest.mark.slow
UPGRADE = b"GET /v1/realtime HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"


@pytest.fixture(scope="module")
def gateway() -> Iterator[GatewayProcess]:
    with FakeTorchServe(delay_s=0.01, keep_windows=False) as fake:
        fake.hypothesis = counted
        limits = {"server__header_timeout_s": 1, "server__keep_alive_s": 1, "server__send_timeout_s": 2}
        with GatewayProcess(fake.url, **limits) as running:
            yield running


def test_a_stream_outlives_the_limits_of_requests_and_leaves_when_the_process_does() -> None:
    with FakeTorchServe(keep_windows=False) as fake:
        fake.hypothesis = counted
        with GatewayProcess(fake.url, server__header_timeout_s=1, server__keep_alive_s=1) as gateway:
            with stream(gateway.url) as client:
                time.sleep(2.5)
                client.speak(speech_pcm(0, 2.2) + silence_pcm(1.0))
                client.until(".completed")
                client.speak(speech_pcm(0, 2.2))
                client.until(".speech_started")
                gateway.signal(signal.SIGTERM)
                assert client.closed()[0] == 1012
            assert client.types[-1].endswith(".completed")
            assert gateway.wait() == 0
            line = gateway.line("stream")
    assert (line["turns"], line["failed"], line["close_code"]) == (2, 0, 1012)
    request = next(one for one in gateway.events("request") if one["route"] == "/v1/realtime")
    assert request["status"] == 101 and request["audio_s"] > 3 and request["request_id"]


def test_an_offer_elsewhere_is_ignored(gateway: GatewayProcess) -> None:
    with (
        pytest.raises(InvalidStatus) as refused,
        connect(f"{gateway.url.replace('http', 'ws', 1)}/v1/models"),
    ):
        pass
    assert refused.value.response.status_code == 200


@pytest.mark.parametrize(
    "head",
    [
        b"Sec-WebSocket-Version: 13\r\n",
        b"Sec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n",
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 99\r\n",
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nCookie: " + b"x" * 20_000 + b"\r\n",
        b"".join(b"X-%d: x\r\n" % i for i in range(300)),
    ],
)
def test_a_broken_handshake_is_refused_without_a_bug_in_the_log(gateway: GatewayProcess, head: bytes) -> None:
    with gateway.connect() as client:
        client.sendall(UPGRADE + head + b"\r\n")
        answer = client.recv(65_536)
    assert not answer or answer.startswith((b"HTTP/1.1 4", b"HTTP/1.1 5"))
    assert not [line for line in gateway.lines if "exception" in line]


def test_a_client_that_reads_nothing_is_cut_off(gateway: GatewayProcess) -> None:
    before = gateway.open_files()
    with gateway.connect() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        client.sendall(
            UPGRADE + b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        frame = masked(json.dumps({"type": "session.update", "session": {"type": "transcription"}}).encode())
        client.settimeout(10)
        with pytest.raises(OSError, match=r"reset|timed out|Broken"):
            flood(client, frame * 100)
    until(lambda: gateway.open_files() <= before, "its socket stays open")
    assert not [line for line in gateway.lines if "exception" in line]


def flood(client: socket.socket, frames: bytes) -> None:
    while True:
        client.sendall(frames)


def masked(payload: bytes) -> bytes:
    """A text frame with the mask of zeros."""
    size = bytes([0x80 | len(payload)]) if len(payload) < 126 else b"\xfe" + struct.pack("!H", len(payload))
    return b"\x81" + size + bytes(4) + payload
