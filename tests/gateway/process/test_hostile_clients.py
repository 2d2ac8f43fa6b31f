"""A real gateway process under clients that break every rule.

Each gets an answer or is let go, none costs more than its own connection, and afterwards everything is as
before.
"""

from __future__ import annotations

import contextlib
import json
import re
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

from tests.gateway.fake_torchserve import FakeTorchServe
from tests.gateway.process.hostile import FORM, Case, all_cases, chunk, chunked, post, request, upload
from tests.gateway.process.running import GatewayProcess, until

pytestmark = pytest.mark.slow

SAMPLE = Path(__file__).resolve().parents[3] / "samples" / "harvard.wav"
CASES = all_cases()
MAX_UPLOAD = 4_000_000
SECRETS = (b"root:", b"# Whisper")  # of /etc/passwd and of README.md


@dataclass(frozen=True)
class Baseline:
    """What the process held before anybody was hostile."""

    open_files: int
    resident_mb: float


@pytest.fixture(scope="module")
def spool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("spool")


@pytest.fixture(scope="module")
def gateway(fake: FakeTorchServe, spool: Path) -> Iterator[GatewayProcess]:
    short = {
        "server__header_timeout_s": 0.5, "server__keep_alive_s": 1, "server__send_timeout_s": 0.5,
        "media__upload_idle_s": 0.4, "media__min_upload_bytes_per_s": 10_000, "media__spool_dir": spool,
        "media__max_upload_bytes": MAX_UPLOAD, "server__max_connections": 300,
    }  # fmt: skip
    with GatewayProcess(fake.url, **short) as running:
        yield running


@pytest.fixture(scope="module")
def baseline(gateway: GatewayProcess) -> Baseline:
    for _ in range(3):
        transcribe(gateway)
    return Baseline(gateway.open_files(), gateway.resident_mb())


@pytest.fixture(autouse=True)
def everything_is_as_before(gateway: GatewayProcess, baseline: Baseline, spool: Path) -> Iterator[None]:
    yield
    assert gateway.get("/health/live")[0] == 200
    until(lambda: not list(spool.iterdir()), "an upload was left on disk")
    # two for the health check's own connection
    until(lambda: gateway.open_files() <= baseline.open_files + 2, "connections or files were left open")
    assert gateway.resident_mb() < baseline.resident_mb + 60


def transcribe(gateway: GatewayProcess) -> None:
    with SAMPLE.open("rb") as audio:
        url = f"{gateway.url}/v1/audio/transcriptions"
        answer = httpx2.post(url, files={"file": audio}, data={"model": "whisper"}, timeout=60)
    assert answer.status_code == 200 and answer.json()["text"]


def read_all(connection: socket.socket) -> bytes:
    """What comes until the server closes; a reset ends it too."""
    connection.settimeout(20)
    answer = b""
    try:
        while data := connection.recv(65_536):
            answer += data
    except ConnectionError:
        pass
    return answer


def send(connection: socket.socket, data: bytes) -> None:
    with contextlib.suppress(ConnectionError):  # the server has heard enough
        connection.sendall(data)


def status_of(answer: bytes) -> int:
    match = re.match(rb"HTTP/1\.1 (\d{3}) ", answer.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n"))
    assert match, f"no HTTP answer: {answer[:100]!r}"
    return int(match[1])


def error_of(answer: bytes) -> str:
    """The code in the error's body."""
    code: str = json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"]
    return code


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_a_malformed_request_is_refused_in_words(gateway: GatewayProcess, case: Case) -> None:
    data, allowed = case
    with gateway.connect() as connection:
        send(connection, data)
        answer = read_all(connection)
    status = status_of(answer)
    assert status in allowed, answer[:300]
    if status >= 400 and not data.startswith(b"HEAD"):
        assert error_of(answer)
    assert not any(secret in answer for secret in SECRETS)


def test_headers_that_dribble_in_are_let_go(gateway: GatewayProcess) -> None:
    with gateway.connect() as connection:
        connection.settimeout(0.03)
        answer, sent = b"", b"GET /v1/models HTTP/1.1\r\nX: " + b"x" * 10_000
        for byte in sent:
            try:
                answer = connection.recv(4096)
                break
            except TimeoutError:
                send(connection, bytes([byte]))
        answer += read_all(connection)
    assert (status_of(answer), error_of(answer)) == (408, "headers_too_slow")


def test_a_body_that_dribbles_in_is_let_go(gateway: GatewayProcess) -> None:
    with gateway.connect() as connection:
        connection.sendall(upload(b"x" * 1_000_000)[:200])
        connection.settimeout(0.03)
        answer = b""
        while not answer:
            try:
                answer = connection.recv(4096)
            except TimeoutError:
                send(connection, b"x")
        answer += read_all(connection)
    assert (status_of(answer), error_of(answer)) == (408, "upload_timeout")


def test_two_hundred_that_connect_and_say_nothing(gateway: GatewayProcess, baseline: Baseline) -> None:
    silent = [gateway.connect() for _ in range(200)]
    try:
        assert gateway.get("/health/live")[0] == 200  # others are served meanwhile
        answers = [read_all(connection) for connection in silent]
    finally:
        for connection in silent:
            connection.close()
    assert {error_of(answer) for answer in answers} == {"headers_too_slow"}


def test_more_connections_than_may_be(gateway: GatewayProcess) -> None:
    held = [gateway.connect() for _ in range(320)]
    try:
        answers = [read_all(connection) for connection in held]
    finally:
        for connection in held:
            connection.close()
    assert all(b"\r\nRetry-After: 5\r\n" in answer for answer in answers if status_of(answer) == 503)
    assert {error_of(answer) for answer in answers} == {"headers_too_slow", "too_many_connections"}


@pytest.mark.parametrize("tenth", range(10))
def test_a_client_that_leaves_in_the_middle_of_its_upload(gateway: GatewayProcess, tenth: int) -> None:
    whole = upload(SAMPLE.read_bytes())
    with gateway.connect() as connection:
        send(connection, whole[: len(whole) * tenth // 10])
    with gateway.connect() as connection:  # and one that ends only its own side
        send(connection, whole[: len(whole) * tenth // 10])
        connection.shutdown(socket.SHUT_WR)
        answer = read_all(connection)
    assert not answer or status_of(answer) in (400, 408)


def test_a_client_that_leaves_while_its_request_is_at_work(gateway: GatewayProcess) -> None:
    whole = upload(SAMPLE.read_bytes())
    for _ in range(10):
        with gateway.connect() as connection:
            send(connection, whole)
    transcribe(gateway)


def test_an_upload_over_the_cap_hears_so_whichever_way_it_comes(gateway: GatewayProcess) -> None:
    too_big = b"x" * (MAX_UPLOAD * 3)
    for data in (upload(too_big), chunked(chunk(too_big) + chunk(b""))):
        with gateway.connect() as connection:
            connection.sendall(data)  # to the end: the refusal must not be lost in a reset
            answer = read_all(connection)
        assert (status_of(answer), error_of(answer)) == (413, "too_large")


@pytest.mark.parametrize("together", [True, False])
def test_an_offer_of_another_protocol_costs_no_body(gateway: GatewayProcess, together: bool) -> None:
    offer = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA\r\n"
    whole = upload(SAMPLE.read_bytes()).replace(b"Connection: close\r\n", offer)
    head, _, body = whole.partition(b"\r\n\r\n")
    with gateway.connect() as connection:
        for data in (whole,) if together else (head + b"\r\n\r\n", body):
            connection.sendall(data)
            time.sleep(0.1)  # so that the server reads it by itself
        connection.sendall(request("GET /health/live HTTP/1.1"))
        answers = read_all(connection)
    assert re.findall(rb"HTTP/1.1 (\d{3}) ", answers) == [b"200", b"200"], answers[:500]
    assert b'"text"' in answers and b"live" in answers


def test_a_thousand_offers_at_once(gateway: GatewayProcess) -> None:
    offer = b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"
    with gateway.connect() as connection:
        send(connection, offer * 1_000)
        assert b"malformed_request" in read_all(connection)  # more than may wait


def test_asking_before_sending(gateway: GatewayProcess) -> None:
    with gateway.connect() as connection:
        connection.sendall(post("Expect: 100-continue", f"Content-Length: {MAX_UPLOAD * 3}"))
        assert status_of(read_all(connection)) == 413
    with gateway.connect() as connection:
        connection.sendall(post("Expect: 100-continue", FORM + "X", "Content-Length: 7"))
        assert connection.recv(100).startswith(b"HTTP/1.1 100 ")
        connection.sendall(b"--X--\r\n")
        assert 400 <= status_of(read_all(connection)) < 500


def test_pipelined_requests_are_answered_in_order(gateway: GatewayProcess) -> None:
    paths = ["/health/live", "/nowhere", "/health/ready", "/v1/models"]
    lines = [f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode() for path in paths]
    with gateway.connect() as connection:
        connection.sendall(b"".join(lines) + request("GET /nowhere HTTP/1.1"))
        answers = read_all(connection)
    assert re.findall(rb"HTTP/1\.1 (\d+) ", answers) == [b"200", b"404", b"200", b"200", b"404"]


def test_a_flood_of_pipelined_requests_is_cut(gateway: GatewayProcess) -> None:
    with gateway.connect() as connection:
        send(connection, b"GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n" * 20_000)
        answers = read_all(connection)
    assert b"malformed_request" in answers or answers.count(b"HTTP/1.1") < 20_000


def test_a_client_that_ends_without_reading_its_answer(gateway: GatewayProcess) -> None:
    """Less is left than fills the server's buffer: nothing ever blocks, and nothing ever drains."""
    before = settled(gateway)
    with gateway.connect() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 3)
        connection.sendall(request("GET /openapi.json HTTP/1.1"))
        assert connection.recv(1) == b"H"
        until(lambda: gateway.open_files() <= before, "it is waited for")


def test_a_client_that_never_reads_its_answers(gateway: GatewayProcess) -> None:
    before = settled(gateway)
    with gateway.connect() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.recv(1) == b"H"

        def let_go() -> bool:
            send(connection, b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 8)
            return gateway.open_files() <= before

        until(let_go, "it is waited for")


def settled(gateway: GatewayProcess) -> int:
    """How many files are open when those of earlier clients are closed."""
    last, now = -1, gateway.open_files()
    while now != last:
        time.sleep(0.3)
        last, now = now, gateway.open_files()
    return now


def test_after_all_that_it_transcribes(gateway: GatewayProcess) -> None:
    transcribe(gateway)
    assert gateway.get("/health/ready")[0] == 200
    failures = [line.get("exception", line["event"]) for line in gateway.lines if line["level"] == "error"]
    assert not failures, "\n".join(failures)
    refused = [line for line in gateway.events("request") if line["status"] >= 500]
    assert refused == []
