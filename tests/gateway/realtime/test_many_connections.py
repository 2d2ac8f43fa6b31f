"""Connections that stay: a thousand idle ones on one process, and one whose client is gone without a word."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

from tests.gateway.fake_torchserve import FakeTorchServe
from tests.gateway.realtime.conftest import StartGateway
from tests.gateway.realtime.streams import speech_pcm
from tests.gateway.realtime.test_stream_ends import wait_until
from tests.gateway.served import Gateway, settings_for

COUNT = 1_000
AT_ONCE = 50  # handshakes: the listening socket's queue is short
PING_S = 0.3
HANDSHAKE = (
    "GET /v1/realtime?intent=transcription HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\n"
    "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


async def until(client: ClientConnection, kind: str) -> dict[str, Any]:
    while True:
        event: dict[str, Any] = json.loads(await client.recv())
        if event["type"].endswith(kind):
            return event


async def says(client: ClientConnection, pcm: bytes) -> str:
    """The transcript of one turn."""
    sound = {"turn_detection": None, "transcription": {"delay": "xhigh"}}
    session = {"type": "transcription", "audio": {"input": sound}}
    await client.send(json.dumps({"type": "session.update", "session": session}))
    audio = base64.b64encode(pcm).decode()
    await client.send(json.dumps({"type": "input_audio_buffer.append", "audio": audio}))
    await client.send(json.dumps({"type": "input_audio_buffer.commit"}))
    return str((await until(client, ".completed"))["transcript"])


def test_a_thousand_idle_streams_and_some_that_speak(start: StartGateway) -> None:
    gateway = start(realtime={"max_streams": COUNT, "max_streams_per_key": COUNT})
    url = f"ws://127.0.0.1:{gateway.port}/v1/realtime?intent=transcription"
    pcm = speech_pcm(0, 1.0)

    async def run() -> list[str]:
        async with AsyncExitStack() as stack:
            clients: list[ClientConnection] = []
            while len(clients) < COUNT:
                opening = (connect(url, compression=None, ping_interval=None) for _ in range(AT_ONCE))
                clients += await asyncio.gather(*(stack.enter_async_context(one) for one in opening))
            assert len(gateway.service.stream_places) == COUNT
            return await asyncio.gather(*(says(client, pcm) for client in clients[::100]))

    assert set(asyncio.run(asyncio.wait_for(run(), 60))) == {"one two three."}
    wait_until(lambda: len(gateway.service.stream_places) == 0, 30)


@pytest.mark.parametrize("is_mid_frame", [False, True])
def test_a_client_that_answers_no_ping_is_cut_off(
    counting: FakeTorchServe, tmp_path: Path, is_mid_frame: bool
) -> None:
    """As after a cable is pulled: no byte comes, and no end of the connection."""
    options = {"ws_ping_interval": PING_S, "ws_ping_timeout": PING_S}
    with (
        Gateway(settings_for(counting, tmp_path), **options) as gateway,
        socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as gone,
    ):
        gone.sendall(HANDSHAKE.format(port=gateway.port).encode())
        assert gone.recv(1_000).startswith(b"HTTP/1.1 101")
        wait_until(lambda: len(gateway.service.stream_places) == 1)
        if is_mid_frame:
            gone.sendall(b"\x81\xff\x00\x00\x00\x00\x00\x01\x00\x00mask" + b"x" * 1_000)  # never whole
        wait_until(lambda: len(gateway.service.stream_places) == 0, 20 * PING_S)
