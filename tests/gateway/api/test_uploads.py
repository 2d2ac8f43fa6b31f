"""The places of uploads: no stranger holds one, and no key holds all."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import httpx2
import pytest

from gateway.middleware import upload_guard
from tests.gateway.api.by_hand import URL, wait_until
from tests.gateway.api.conftest import TIMEOUT_S, WHOLE, StartGateway
from tests.gateway.served import Gateway

ALICE, BOB = "key-of-alice-0123456789", "key-of-bob-0123456789"
FORM = 'Content-Type: multipart/form-data; boundary="B"'


def transcribe(gateway: Gateway, audio: bytes, key: str) -> httpx2.Response:
    headers = {"Authorization": f"Bearer {key}"}
    files = {"file": audio}
    return httpx2.post(gateway.url + URL, headers=headers, files=files, data=WHOLE, timeout=TIMEOUT_S)


@contextmanager
def begun(gateway: Gateway, count: int, *lines: str) -> Iterator[list[socket.socket]]:
    """Uploads that were announced, and of which nothing more comes."""
    head = "\r\n".join([f"POST {URL} HTTP/1.1", "Host: x", FORM, "Content-Length: 100000", *lines, "", ""])
    with ExitStack() as open_ones:
        found = []
        for _ in range(count):
            connection = socket.create_connection(("127.0.0.1", gateway.port), timeout=TIMEOUT_S)
            open_ones.enter_context(connection)
            connection.sendall(head.encode())
            found.append(connection)
        yield found


def receiving(gateway: Gateway) -> float:
    count: float = gateway.service.metrics.uploads._value.get()
    return count


@pytest.mark.parametrize("lines", [(), ("Authorization: Bearer wrong",)], ids=["no key", "a wrong key"])
def test_who_has_no_key_takes_no_place_from_those_who_have(
    start_gateway: StartGateway, tone_wav: bytes, lines: tuple[str, ...]
) -> None:
    gateway = start_gateway(access={"keys": [ALICE]}, media={"max_uploads": 2})
    with begun(gateway, 8, *lines) as strangers:
        for stranger in strangers:
            assert stranger.recv(4096).startswith(b"HTTP/1.1 401 ")
        assert receiving(gateway) == 0
        assert transcribe(gateway, tone_wav, ALICE).status_code == 200  # while the strangers' bodies trickle


def test_no_key_holds_all_places(start_gateway: StartGateway, tone_wav: bytes) -> None:
    media = {"max_uploads": 3, "max_uploads_per_key": 2}
    gateway = start_gateway(access={"keys": [ALICE, BOB]}, media=media)
    with begun(gateway, 2, f"Authorization: Bearer {ALICE}"):
        wait_until(lambda: receiving(gateway) == 2)
        refused = transcribe(gateway, tone_wav, ALICE)
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "too_many_uploads")
        assert "2 uploads of this key" in refused.json()["error"]["message"]
        assert int(refused.headers["retry-after"]) >= 1
        assert transcribe(gateway, tone_wav, BOB).status_code == 200
    wait_until(lambda: receiving(gateway) == 0)
    assert transcribe(gateway, tone_wav, ALICE).status_code == 200


def test_without_keys_nobody_is_told_apart(start_gateway: StartGateway, tone_wav: bytes) -> None:
    gateway = start_gateway(media={"max_uploads": 3, "max_uploads_per_key": 1})
    with begun(gateway, 2):
        wait_until(lambda: receiving(gateway) == 2)
        assert transcribe(gateway, tone_wav, "any").status_code == 200


def test_an_address_without_a_right_key_is_let_go_at_once(
    start_gateway: StartGateway, tone_wav: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = start_gateway(
        access={"keys": [ALICE], "wrong_keys_per_minute_per_address": 2}, media={"upload_idle_s": 60}
    )
    with begun(gateway, 2) as told:
        assert all(stranger.recv(4096).startswith(b"HTTP/1.1 401 ") for stranger in told)
    monkeypatch.setattr(upload_guard, "LINGER_S", 60.0)  # that a client may send into a refusal
    began = time.monotonic()
    with begun(gateway, 1) as [stranger]:
        answer = b""
        while data := stranger.recv(4096):
            answer += data
    assert time.monotonic() - began < 30
    assert answer.startswith(b"HTTP/1.1 429 ") and b"too_many_wrong_keys" in answer
    assert b"retry-after" in answer.lower()
    assert transcribe(gateway, tone_wav, ALICE).status_code == 200
