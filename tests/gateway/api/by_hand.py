"""Requests sent by hand, to be cut off by hand."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

import httpx2

from tests.gateway.api.conftest import TIMEOUT_S
from tests.gateway.served import Gateway

URL = "/v1/audio/transcriptions"


def request_by_socket(gateway: Gateway, audio: bytes, fields: dict[str, str]) -> socket.socket:
    """A request that has been sent whole; its answer has not been read."""
    request = httpx2.Request("POST", gateway.url + URL, files={"file": audio}, data=fields)
    body = request.read()
    head = f"POST {URL} HTTP/1.1\r\nHost: localhost\r\n"
    head += "".join(f"{name}: {request.headers[name]}\r\n" for name in ("content-type", "content-length"))
    connection = socket.create_connection(("127.0.0.1", gateway.port), timeout=TIMEOUT_S)
    connection.sendall(head.encode() + b"\r\n" + body)
    return connection


def wait_until(reached: Callable[[], bool]) -> None:
    give_up = time.monotonic() + 30
    while not reached():
        assert time.monotonic() < give_up
        time.sleep(0.01)
