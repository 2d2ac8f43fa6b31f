"""Bodies: too many, too big, too slow, and what a client hears when it is refused in the middle."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import httpx2
import pytest

from asr.errors import TooLarge
from gateway.api_errors import UploadTimeout
from gateway.http.forms import FORM_ROOM
from tests.gateway.middleware.tiny import Served, exchange, read_all, settings, tiny_app

CAP = 100_000
TOO_BIG = CAP + FORM_ROOM + 1


@pytest.fixture
def served() -> Iterator[Served]:
    limits = {"max_upload_bytes": CAP, "upload_idle_s": 0.3, "max_uploads": 2, "min_upload_bytes_per_s": 1000}
    with Served(tiny_app(settings(media=limits))) as running:
        yield running


def head(path: str, *lines: str) -> bytes:
    return "\r\n".join([f"POST {path} HTTP/1.1", "Host: here", *lines, "", ""]).encode()


def test_a_body_within_the_limits_passes_and_the_connection_stays(served: Served) -> None:
    with httpx2.Client(base_url=served.url, timeout=20) as client:
        for _ in range(3):
            answer = client.post("/read/a", content=b"x" * CAP)
            assert (answer.status_code, answer.json()) == (200, {"bytes": CAP})
            assert "connection" not in answer.headers


def test_an_announced_size_over_the_cap_is_refused_before_a_byte_is_read(served: Served) -> None:
    with served.connect() as connection:
        answer = exchange(connection, head("/read/a", f"Content-Length: {TOO_BIG}"))
    assert answer.startswith(b"HTTP/1.1 413 ") and b"connection: close" in answer
    assert b'"code": "too_large"' in answer
    assert served.app.state.seen.bytes == 0 and not served.app.state.seen.errors


def test_a_client_that_sends_everything_first_still_reads_its_refusal(served: Served) -> None:
    """Closed at once, the connection would be reset, and the answer lost with it."""
    body = b"x" * (20 * TOO_BIG)
    answer = httpx2.post(f"{served.url}/read/a", content=body, timeout=20)
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_large")


def test_a_chunked_body_over_the_cap_is_refused_in_the_middle(served: Served) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(100):
            yield b"x" * CAP

    answer = httpx2.post(f"{served.url}/read/a", content=chunks(), timeout=20)
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_large")
    assert served.app.state.seen.bytes <= TOO_BIG
    assert isinstance(served.app.state.seen.errors[0], TooLarge)  # the route could clean up


def test_an_answer_before_the_body_was_read_closes_the_connection(served: Served) -> None:
    body = b"x" * CAP
    with served.connect() as connection:
        answer = exchange(connection, head("/ignore", f"Content-Length: {len(body)}") + body)
    assert answer.startswith(b"HTTP/1.1 200 ") and b"connection: close" in answer


def test_silence_is_408(served: Served) -> None:
    with served.connect() as connection:
        answer = exchange(connection, head("/read/a", "Content-Length: 10") + b"abc")
    assert answer.startswith(b"HTTP/1.1 408 ") and b'"code": "upload_timeout"' in answer
    assert isinstance(served.app.state.seen.errors[0], UploadTimeout)


def test_dribbling_is_408() -> None:
    limits = {"upload_idle_s": 1.0, "min_upload_bytes_per_s": 1000}
    with Served(tiny_app(settings(media=limits))) as served, served.connect() as connection:
        connection.sendall(head("/read/a", "Content-Length: 1000"))
        connection.settimeout(0.05)
        answer = b""
        while not answer:  # one byte every 50 ms: never idle, but far too slow
            try:
                answer = connection.recv(1)
            except TimeoutError:
                connection.sendall(b"x")
        connection.settimeout(20)
        answer += read_all(connection)
    assert answer.startswith(b"HTTP/1.1 408 ") and b"1000 bytes per second" in answer


def test_a_body_has_its_time_in_all_however_steadily_it_comes() -> None:
    limits = {"max_upload_s": 0.5, "upload_idle_s": 1.0, "min_upload_bytes_per_s": 1}
    with Served(tiny_app(settings(media=limits))) as served, served.connect() as connection:
        connection.sendall(head("/read/a", "Content-Length: 1000"))
        connection.settimeout(0.02)
        answer, began = b"", time.monotonic()
        while not answer:
            try:
                answer = connection.recv(1)
            except TimeoutError:
                connection.sendall(b"xx")
        seconds = time.monotonic() - began
        connection.settimeout(20)
        answer += read_all(connection)
    assert answer.startswith(b"HTTP/1.1 408 ") and b"took longer than 0.5 s" in answer
    assert seconds >= 0.5


def test_an_answer_gives_the_place_back_while_the_rest_of_the_body_is_waited_for() -> None:
    limits = {"max_upload_bytes": CAP, "max_uploads": 1}
    with Served(tiny_app(settings(media=limits))) as served, served.connect() as connection:
        too_much = b"%x\r\n" % TOO_BIG + b"x" * TOO_BIG + b"\r\n"  # and no end
        connection.sendall(head("/read/a", "Transfer-Encoding: chunked") + too_much)
        assert connection.recv(65_536).startswith(b"HTTP/1.1 413 ")
        assert httpx2.post(f"{served.url}/read/a", content=b"x", timeout=20).status_code == 200


def test_who_is_answered_before_the_body_is_read_holds_no_place(served: Served) -> None:
    held = [served.connect() for _ in range(8)]
    try:
        for connection in held:
            connection.sendall(head("/ignore", "Content-Length: 1000"))
        for connection in held:
            assert connection.recv(65_536).startswith(b"HTTP/1.1 200 ")
        assert httpx2.post(f"{served.url}/read/a", content=b"x", timeout=20).status_code == 200
    finally:
        for connection in held:
            connection.close()


def test_no_more_than_so_many_at_once(served: Served) -> None:
    gauge = served.app.state.service.metrics.uploads._value
    held = [served.connect() for _ in range(2)]
    try:
        for connection in held:
            connection.sendall(head("/read/a", "Content-Length: 10"))
        give_up = time.monotonic() + 20
        while gauge.get() < 2 and time.monotonic() < give_up:
            time.sleep(0.002)
        refused = httpx2.post(f"{served.url}/read/a", content=b"x", timeout=20)
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "too_many_uploads")
        assert int(refused.headers["retry-after"]) >= 1
        assert httpx2.get(f"{served.url}/client", timeout=20).status_code == 200  # no body, no place
        for connection in held:
            assert read_all(connection).startswith(b"HTTP/1.1 408 ")  # they never sent their ten bytes
        assert httpx2.post(f"{served.url}/read/a", content=b"x", timeout=20).status_code == 200
        assert gauge.get() == 0
    finally:
        for connection in held:
            connection.close()


def test_a_client_that_leaves_in_the_middle_leaves_its_place(served: Served) -> None:
    for _ in range(5):
        with served.connect() as connection:
            connection.sendall(head("/read/a", "Content-Length: 1000") + b"x" * 500)
            connection.shutdown(socket.SHUT_RDWR)
    give_up = time.monotonic() + 20
    while served.app.state.service.metrics.uploads._value.get() and time.monotonic() < give_up:
        time.sleep(0.01)
    assert served.app.state.service.metrics.uploads._value.get() == 0
    assert httpx2.post(f"{served.url}/read/a", content=b"x", timeout=20).status_code == 200


def test_a_client_that_asks_first_is_told_before_it_sends(served: Served) -> None:
    with served.connect() as connection:
        request = head("/read/a", f"Content-Length: {TOO_BIG}", "Expect: 100-continue")
        answer = exchange(connection, request)
    assert answer.startswith(b"HTTP/1.1 413 ")  # and no "100 Continue" before it
    with served.connect() as connection:
        connection.sendall(head("/read/a", "Content-Length: 3", "Expect: 100-continue", "Connection: close"))
        assert connection.recv(1000).startswith(b"HTTP/1.1 100 ")
        assert exchange(connection, b"abc").endswith(b'{"bytes":3}')
