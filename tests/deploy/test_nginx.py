"""deploy/nginx: TLS, streaming, sizes, and what a stopping or dying gateway costs its callers: nothing."""

from __future__ import annotations

import contextlib
import http.client
import json
import shutil
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from websockets.sync.client import connect

from scripts.serve.addresses import free_ports
from tests.deploy.images import ROOT
from tests.deploy.proxy import TEMPLATE, Proxy, nginx_program, proxy, running, standin_command
from tests.gateway.fake_torchserve import FakeTorchServe
from tests.ops.commands import caller_environment

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        nginx_program() is None or shutil.which("openssl") is None, reason="needs nginx and openssl"
    ),
]
TIMEOUT_S = 30
CLIENTS = 8


@dataclass(frozen=True)
class Pair:
    """nginx and the two stand-ins behind it; "a" is the one that fails."""

    proxy: Proxy
    ports: dict[str, int]
    processes: dict[str, subprocess.Popen[bytes]]

    def post(self, behaviour: str, body: bytes = b"audio", **more: Any) -> requests.Response:
        # A connection per request, so that nginx's own keep-alive plays no part.
        return requests.post(f"{self.proxy.url}/transcribe/{behaviour}", body, timeout=TIMEOUT_S,
                             verify=str(self.proxy.certificate), **more)  # fmt: skip

    def get(self, path: str, **more: Any) -> requests.Response:
        return requests.get(f"{self.proxy.url}{path}", timeout=TIMEOUT_S,
                            verify=str(self.proxy.certificate), **more)  # fmt: skip

    def direct(self, name: str, path: str) -> str:
        return f"http://127.0.0.1:{self.ports[name]}{path}"

    def seen(self, name: str) -> dict[str, int]:
        seen: dict[str, int] = requests.get(self.direct(name, "/seen"), timeout=TIMEOUT_S).json()
        return seen


@contextlib.contextmanager
def running_pair(directory: Path) -> Iterator[Pair]:
    ports = dict(zip("ab", free_ports(2), strict=True))
    with ExitStack() as stack:
        processes = {
            name: stack.enter_context(running(standin_command(name, port), port))
            for name, port in ports.items()
        }
        yield Pair(stack.enter_context(proxy(directory, list(ports.values()))), ports, processes)


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    """For a test that harms its gateways."""
    with running_pair(tmp_path) as running:
        yield running


@pytest.fixture(scope="module")
def calm_pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """For tests that leave their gateways as they are."""
    with running_pair(tmp_path_factory.mktemp("nginx")) as running:
        yield running


def post_until(pair: Pair, behaviour: str, reached: str) -> list[requests.Response]:
    """Answers to requests sent until gateway `reached` has seen one of them."""
    answers = []
    for _ in range(20):
        answers.append(pair.post(behaviour))
        if behaviour == "die" and pair.processes[reached].poll() is not None:
            return answers
        if behaviour != "die" and pair.seen(reached).get(behaviour):
            return answers
    raise AssertionError(f"nginx never asked gateway {reached}")


def test_both_gateways_are_used_over_verified_tls(calm_pair: Pair) -> None:
    answers = [calm_pair.post("plain") for _ in range(8)]
    assert {answer.status_code for answer in answers} == {200}
    assert {answer.json()["by"] for answer in answers} == {"a", "b"}
    assert "max-age" in answers[0].headers["Strict-Transport-Security"]
    with pytest.raises(requests.exceptions.SSLError):
        requests.get(f"{calm_pair.proxy.url}/health/live", timeout=TIMEOUT_S)


def test_a_client_cannot_choose_its_address(calm_pair: Pair) -> None:
    answer = calm_pair.post("plain", headers={"X-Forwarded-For": "10.9.8.7"})
    assert answer.json()["from"] == "127.0.0.1"


def test_events_come_through_as_they_are_sent(calm_pair: Pair) -> None:
    """The second event is sent only after the first has arrived: a buffer anywhere would wait for ever."""
    with calm_pair.get("/stream", stream=True) as answer:
        lines = answer.iter_lines(chunk_size=1)
        name = next(lines).decode().removeprefix("data: ")
        requests.post(calm_pair.direct(name, "/release"), timeout=TIMEOUT_S)
        assert b"data: [DONE]" in list(lines)


def test_uploads_pass_up_to_the_limit_and_the_refusal_is_the_apis(calm_pair: Pair) -> None:
    assert calm_pair.post("plain", bytes(20_000_000)).json()["bytes"] == 20_000_000
    status, body = announce(calm_pair, 200_000_000)
    assert status == 413
    assert json.loads(body)["error"]["code"] == "too_large"


def test_a_gateway_that_is_not_ready_is_passed_over(pair: Pair) -> None:
    answers = post_until(pair, "not_ready", "a")
    assert {(answer.status_code, answer.json()["by"]) for answer in answers} == {(200, "b")}


def test_a_gateway_killed_during_a_request_costs_no_answer(pair: Pair) -> None:
    answers = post_until(pair, "die", "a")
    assert {(answer.status_code, answer.json()["by"]) for answer in answers} == {(200, "b")}


@pytest.mark.parametrize(("behaviour", "status"), [("broken", 500), ("full", 429)])
def test_other_failures_are_not_sent_again(calm_pair: Pair, behaviour: str, status: int) -> None:
    answer = calm_pair.post(behaviour)
    assert answer.status_code == status
    assert sum(calm_pair.seen(name).get(behaviour, 0) for name in "ab") == 1


def test_a_refused_connection_is_tried_on_the_other_gateway(pair: Pair) -> None:
    pair.processes["a"].send_signal(signal.SIGTERM)
    pair.processes["a"].wait(TIMEOUT_S)
    answers = [pair.post("plain", bytes(300_000)) for _ in range(6)]
    assert {(answer.status_code, answer.json()["by"]) for answer in answers} == {(200, "b")}


def test_no_gateway_is_an_answer_in_the_apis_shape(pair: Pair) -> None:
    for process in pair.processes.values():
        process.send_signal(signal.SIGTERM)
        process.wait(TIMEOUT_S)
    answer = pair.post("plain")
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "not_ready"
    assert answer.headers["Retry-After"] == "5"


def test_metrics_are_not_for_clients(calm_pair: Pair) -> None:
    assert calm_pair.get("/metrics").status_code == 404


def test_a_gateway_stopped_under_load_loses_nothing(pair: Pair) -> None:
    enough = threading.Barrier(CLIENTS + 1)

    def client(number: int) -> list[tuple[int, str]]:
        before = [outcome(pair.post("slow", bytes(1000 + number))) for _ in range(4)]
        enough.wait(TIMEOUT_S)
        return before + [outcome(pair.post("slow", bytes(1000 + number))) for _ in range(12)]

    with ThreadPoolExecutor(CLIENTS) as pool:
        clients = [pool.submit(client, number) for number in range(CLIENTS)]
        enough.wait(TIMEOUT_S)
        pair.processes["a"].send_signal(signal.SIGTERM)
        outcomes = [each for one in clients for each in one.result(TIMEOUT_S)]
    assert pair.processes["a"].wait(TIMEOUT_S) in (0, -signal.SIGTERM)
    statuses = Counter(status for status, _ in outcomes)
    assert statuses == {200: CLIENTS * 16}
    assert {name for _, name in outcomes} == {"a", "b"}


def announce(pair: Pair, length: int) -> tuple[int, bytes]:
    """The answer to an upload's headers alone: it is refused by its length, before the body."""
    where = urlsplit(pair.proxy.url)
    trust = ssl.create_default_context(cafile=str(pair.proxy.certificate))
    connection = http.client.HTTPSConnection(
        str(where.hostname), where.port, timeout=TIMEOUT_S, context=trust
    )
    with contextlib.closing(connection):
        connection.putrequest("POST", "/transcribe/plain")
        connection.putheader("Content-Length", str(length))
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, answer.read()


def outcome(answer: requests.Response) -> tuple[int, str]:
    return answer.status_code, answer.json().get("by", "")


@contextlib.contextmanager
def real_gateway(folder: Path, port: int, upstream: FakeTorchServe) -> Iterator[subprocess.Popen[bytes]]:
    """`python -m gateway` in a process of its own, once it is ready."""
    folder.mkdir()
    environ = caller_environment(
        GATEWAY_SERVER__PORT=str(port),
        GATEWAY_UPSTREAM__URLS=upstream.url,
        GATEWAY_UPSTREAM__MANAGEMENT_URLS=upstream.management_url,
        GATEWAY_MEDIA__PROCESSES="1",
        GATEWAY_MEDIA__SPOOL_DIR=str(folder),
        GATEWAY_ACCESS__TRUSTED_PROXIES="127.0.0.1",
    )
    with running([sys.executable, "-m", "gateway"], port, environ) as process:
        deadline = time.monotonic() + 60
        while requests.get(f"http://127.0.0.1:{port}/health/ready", timeout=TIMEOUT_S).status_code != 200:
            assert time.monotonic() < deadline, "the gateway is not ready"
            time.sleep(0.1)
        yield process


def test_a_real_gateway_stopped_under_load_loses_nothing(tmp_path: Path) -> None:
    """Its drain, its 503 and its closed port, each met by some of the requests."""
    ports = free_ports(2)
    speech = (ROOT / "samples" / "digits.flac").read_bytes()
    stopped = threading.Event()
    done = threading.Semaphore(0)
    with ExitStack() as stack:
        fakes = [stack.enter_context(FakeTorchServe(delay_s=0.1)) for _ in ports]
        processes = [
            stack.enter_context(real_gateway(tmp_path / str(port), port, fake))
            for port, fake in zip(ports, fakes, strict=True)
        ]
        front = stack.enter_context(proxy(tmp_path, ports))

        def transcribe() -> tuple[int, str]:
            answer = requests.post(
                f"{front.url}/v1/audio/transcriptions", files={"file": speech},
                data={"response_format": "text"}, timeout=TIMEOUT_S, verify=str(front.certificate),
            )  # fmt: skip
            done.release()
            return answer.status_code, answer.text

        def client() -> list[tuple[int, str]]:
            answers = []
            while not stopped.is_set():
                answers.append(transcribe())
            return [*answers, *(transcribe() for _ in range(3))]

        right = transcribe()
        assert right[0] == 200
        with ThreadPoolExecutor(CLIENTS) as pool:
            clients = [pool.submit(client) for _ in range(CLIENTS)]
            for _ in range(2 * CLIENTS):
                assert done.acquire(timeout=TIMEOUT_S)
            processes[0].send_signal(signal.SIGTERM)
            assert processes[0].wait(TIMEOUT_S) == 0
            seen = len(fakes[0].windows)
            stopped.set()
            answers = [each for one in clients for each in one.result(2 * TIMEOUT_S)]
        assert set(answers) == {right}
        assert len(answers) >= 5 * CLIENTS
        assert seen and len(fakes[0].windows) == seen  # it had its share, and nothing after its end
        assert len(fakes[1].windows) > seen // 2


def test_the_template_names_nothing_of_one_installation() -> None:
    """Addresses, names and paths come from outside."""
    directives = [line.partition("#")[0] for line in TEMPLATE.read_text().splitlines()]
    assert [line for line in directives if "/etc/" in line or "127.0.0.1" in line] == []


def test_a_websocket_passes_with_frames_of_twenty_megabytes(pair: Pair) -> None:
    context = ssl.create_default_context(cafile=str(pair.proxy.certificate))
    address = f"{pair.proxy.url.replace('https', 'wss', 1)}/v1/realtime?intent=transcription"
    with connect(address, ssl=context, subprotocols=["realtime"], max_size=None) as client:
        assert client.subprotocol == "realtime"
        assert json.loads(client.recv(TIMEOUT_S))["from"] == "127.0.0.1"
        frame = "x" * 20_000_000
        client.send(frame)
        assert client.recv(TIMEOUT_S) == frame
