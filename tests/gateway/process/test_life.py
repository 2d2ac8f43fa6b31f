"""The process: ready, draining, gone; keys and TLS from its settings."""

from __future__ import annotations

import json
import shutil
import signal
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.gateway.fake_torchserve import FakeTorchServe
from tests.gateway.process.running import GatewayProcess, until

pytestmark = pytest.mark.slow

SAMPLE = Path(__file__).resolve().parents[3] / "samples" / "harvard.wav"


@pytest.fixture
def holding_fake() -> Iterator[FakeTorchServe]:
    """While one of its workers holds a window, the other one answers the canaries."""
    with FakeTorchServe(workers=2) as running:
        yield running


def transcribe(
    gateway: GatewayProcess, fake: FakeTorchServe, answers: list[httpx2.Response]
) -> threading.Thread:
    """A request in a thread, whose window the fake TorchServe holds from now on."""
    fake.is_held = lambda: True

    def post() -> None:
        with SAMPLE.open("rb") as audio:
            url = f"{gateway.url}/v1/audio/transcriptions"
            form = {"model": "whisper", "response_format": "text"}
            answers.append(httpx2.post(url, files={"file": audio}, data=form, timeout=60))

    thread = threading.Thread(target=post, daemon=True)
    thread.start()
    until(lambda: b"whisper_gateway_windows_outstanding 1.0" in gateway.get("/metrics")[1], "no window sent")
    return thread


def test_a_signal_lets_running_requests_finish_and_takes_no_new_ones(holding_fake: FakeTorchServe) -> None:
    answers: list[httpx2.Response] = []
    with GatewayProcess(holding_fake.url) as gateway:
        thread = transcribe(gateway, holding_fake, answers)
        gateway.signal(signal.SIGTERM)
        until(lambda: gateway.get("/health/ready")[0] == 503, "still ready")
        assert json.loads(gateway.get("/health/ready")[1])["reasons"] == ["the server is going down"]
        assert gateway.get("/health/live")[0] == 200
        refused = httpx2.get(f"{gateway.url}/v1/models", timeout=20)
        assert (refused.status_code, refused.headers["connection"]) == (503, "close")
        assert refused.json()["error"]["code"] == "not_ready"
        holding_fake.is_held = lambda: False
        thread.join(60)
        assert gateway.wait() == 0
        assert gateway.line("stopped")["cut_short"] is False
    assert answers[0].status_code == 200 and answers[0].text.strip()


def test_what_outlives_the_drain_is_told_so(holding_fake: FakeTorchServe) -> None:
    answers: list[httpx2.Response] = []
    with GatewayProcess(holding_fake.url, server__drain_s=0.1) as gateway:
        thread = transcribe(gateway, holding_fake, answers)
        gateway.signal(signal.SIGINT)
        thread.join(60)
        assert gateway.wait() == 0
        assert gateway.line("stopped")["cut_short"] is True
    assert (answers[0].status_code, answers[0].json()["error"]["code"]) == (503, "not_ready")


def test_a_second_signal_ends_the_patience(holding_fake: FakeTorchServe) -> None:
    answers: list[httpx2.Response] = []
    with GatewayProcess(holding_fake.url, server__drain_s=600) as gateway:
        thread = transcribe(gateway, holding_fake, answers)
        gateway.signal(signal.SIGTERM)
        gateway.line("draining")
        gateway.signal(signal.SIGTERM)
        thread.join(60)
        assert gateway.wait() == 0
    assert answers[0].status_code == 503


def test_without_an_upstream_it_lives_and_says_why_it_is_not_ready() -> None:
    gateway = GatewayProcess("http://127.0.0.1:9")  # nobody listens there
    try:
        status, body = gateway.get("/health/ready")
        assert (status, json.loads(body)["reasons"]) == (503, ["no upstream has answered its canary lately"])
        assert gateway.get("/health/live")[0] == 200
        assert gateway.get("/v1/models")[0] == 503
    finally:
        gateway.stop()


def test_keys_tls_and_metrics_behind_a_key(fake: FakeTorchServe, tmp_path: Path) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl")
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = [
        openssl,
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "1",
        "-subj",
        "/CN=127.0.0.1",
    ]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    gateway = GatewayProcess(
        fake.url, server__host="0.0.0.0", server__tls_cert=cert, server__tls_key=key,
        access__keys="0123456789abcdef", observe__metrics_open="false",
    )  # fmt: skip
    try:
        trust = ssl.create_default_context(cafile=str(cert))
        port = int(gateway.url.rsplit(":", 1)[1])
        assert gateway.url.startswith("https://")
        with httpx2.Client(base_url=f"https://127.0.0.1:{port}", verify=trust, timeout=20) as client:
            allowed = {"Authorization": "Bearer 0123456789abcdef"}
            assert client.get("/health/live").headers["strict-transport-security"]
            assert client.get("/metrics").status_code == 401
            assert client.get("/metrics", headers=allowed).status_code == 200
            until(lambda: client.get("/health/ready").status_code == 200, "not ready")
            assert client.get("/v1/models").status_code == 401
            assert client.get("/v1/models", headers=allowed).status_code == 200
    finally:
        gateway.stop()


def test_metrics_are_open_to_this_machine(fake: FakeTorchServe) -> None:
    with GatewayProcess(fake.url, access__keys="0123456789abcdef") as gateway:
        assert httpx2.get(f"{gateway.url}/metrics", timeout=20).status_code == 200
        for header in ("X-Forwarded-For", "Forwarded"):  # a proxy on this machine asks for somebody else
            proxied = httpx2.get(f"{gateway.url}/metrics", headers={header: "203.0.113.9"}, timeout=20)
            assert proxied.status_code == 401


def test_several_gateways_share_an_upstream(fake: FakeTorchServe) -> None:
    with GatewayProcess(fake.url) as first, GatewayProcess(fake.url) as second:
        assert first.port != second.port
        assert first.get("/v1/models")[0] == second.get("/v1/models")[0] == 200
