"""Each failure of docs/runbook.md made once: what its chapter says one sees is what one sees.

A Prometheus of its own scrapes the real processes and evaluates the real rules for each test; only the
minutes that a condition must last before it alerts are left out. A full disk is in test_gateway.py.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests

from asr.audio import media
from asr.config import Limits
from asr.constants import SAMPLE_RATE
from tests.asr.containers import tone, wav
from tests.dashboard import Prometheus
from tests.gateway.realtime.streams import speech_pcm, stream
from tests.live import prometheus as debian
from tests.live.faults.alerts import SHOWN_WITHIN_S, assert_fires, fires, in_background, value, watched
from tests.live.faults.conftest import running_gateway
from tests.live.faults.stack import CLIP, Gateway, Load, crowd, load, started_server, starved, until
from tests.live.faults.table import record
from tests.live.faults.wellness import survived
from tests.servers import Server

pytestmark = pytest.mark.skipif(not debian.is_installed(), reason="prometheus is not installed")

CLIENTS = 8
STOPPED_S = 6
URL = "/v1/audio/transcriptions"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """With the repository's responseTimeout: here a worker that is slow must not count as one that hangs."""
    running = started_server(tmp_path_factory.mktemp("server"))
    yield running
    running.stop()


@pytest.fixture(scope="module")
def gateway(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with running_gateway(server, tmp_path_factory.mktemp("gateway")) as running:
        yield running


@pytest.fixture
def prometheus(server: Server, gateway: Gateway, tmp_path: Path) -> Iterator[Prometheus]:
    with watched(tmp_path, server, gateway) as running:
        yield running


def send(gateway: Gateway, body: bytes, **form: str) -> requests.Response:
    return requests.post(
        f"{gateway.url}{URL}", data={"model": "whisper-1", **form}, files={"file": body}, timeout=120
    )


def test_nobody_calls(prometheus: Prometheus) -> None:
    """NoTraffic, while canaries arrive at TorchServe all the time."""
    until(lambda: value(prometheus, "sum(rate(ts_inference_requests_total[1m]))") > 0, SHOWN_WITHIN_S)
    assert_fires(prometheus, "NoTraffic")
    assert not fires(prometheus, "WorkerDown") and not fires(prometheus, "TargetDown")


def test_clients_send_what_is_no_audio(prometheus: Prometheus, gateway: Gateway) -> None:
    """RefusalRateHigh."""
    answers: list[requests.Response] = []
    with in_background(lambda: answers.append(send(gateway, b"this is not audio"))):
        assert_fires(prometheus, "RefusalRateHigh")
    assert {(answer.status_code, answer.json()["error"]["code"]) for answer in answers} == {
        (415, "unsupported_media")
    }
    assert value(prometheus, 'sum(whisper_gateway_rejected_total{reason="unsupported_media"})') > 0
    assert not fires(prometheus, "ErrorRateHigh")


def test_the_model_is_unsure(prometheus: Prometheus, gateway: Gateway) -> None:
    """FallbackRateHigh: here callers ask for more certainty than any model has."""
    body = CLIP.read_bytes()
    unsure = {"logprob_threshold": "0", "temperature": "0", "temperature_increment_on_fallback": "0.2"}
    with in_background(lambda: send(gateway, body, **unsure)):
        assert_fires(prometheus, "FallbackRateHigh")
    assert value(prometheus, 'sum(whisper_gateway_fallbacks_total{reason="logprob"})') > 0


def test_a_throttled_worker(tmp_path: Path) -> None:
    """RtfHigh, LiveAnswersLate and QueueWaitLong's metric: a worker without processor time, again and again.

    It takes one window at a time: clients that are answered together ask together, and a whole batch of them
    would be handed to the stopped worker at once, so that nobody were left to wait in TorchServe's queue.
    """
    server = started_server(tmp_path / "server", model_config={"batchSize": 1})
    gateway = Gateway(tmp_path, [server])
    second = wav(tone(1.0))  # heard only without speech detection
    statuses: list[int] = []

    def ask() -> None:
        try:
            statuses.append(send(gateway, second, vad_filter="false").status_code)
        except requests.RequestException:
            statuses.append(0)

    try:
        gateway.wait_ready()
        (worker,) = server.worker_pids()
        with (
            watched(tmp_path, server, gateway) as prometheus,
            survived(server, gateway) as readiness,
            in_background(lambda: throttle(worker, statuses)),
            in_background(ask, threads=CLIENTS),
            in_background(lambda: speak(gateway)),
        ):
            readiness.broken_now()
            started = time.monotonic()
            assert_fires(prometheus, "RtfHigh")
            assert_fires(prometheus, "LiveAnswersLate")
            until(lambda: value(prometheus, "whisper:queue_wait_seconds:mean5m") > 1, SHOWN_WITHIN_S)
            assert value(prometheus, "whisper:gateway_rtf:mean5m") > 1
            took = time.monotonic() - started
        assert set(statuses) == {200}, "slow, and nothing else"
        assert server.worker_pids() == [worker]
    finally:
        with server:
            assert gateway.stop() == 0
    record(
        f"worker stopped for {STOPPED_S} s again and again under {CLIENTS} clients",
        took,
        "the alert RtfHigh fires",
        "every answer a 200, only late; no worker replaced",
        readiness.back_after_s,
    )


def speak(gateway: Gateway) -> None:
    """One turn over a stream, to its transcript."""
    with stream(gateway.url) as client:
        client.update(turn_detection=None, transcription={"delay": "xhigh"})
        client.append(speech_pcm(0, 1.0))
        client.commit()
        assert client.until(".completed", 120)["transcript"] is not None


def throttle(worker: int, statuses: list[int]) -> None:
    """The worker runs only as long as those that waited for it need: a quick one would answer many."""
    answered = len(statuses) + CLIENTS
    os.kill(worker, signal.SIGSTOP)
    time.sleep(STOPPED_S)
    os.kill(worker, signal.SIGCONT)
    for _ in range(100):
        if len(statuses) >= answered:
            return
        time.sleep(0.02)


def test_a_worker_dies_again_and_again(server: Server, tmp_path: Path) -> None:
    """WorkerRestarting, and ErrorRateHigh of TorchServe, whose 5xx the gateway keeps from its clients."""
    gateway = Gateway(tmp_path, [server], GATEWAY_UPSTREAM__MAX_DEATHS="9")  # the clips are not to blame
    try:
        gateway.wait_ready()
        with watched(tmp_path, server, gateway) as prometheus:
            with load(gateway, clients=3) as result:
                for _ in range(3):
                    kill_a_worker_at_work(server, gateway, result)
                assert_fires(prometheus, "WorkerRestarting")
                assert_fires(prometheus, "ErrorRateHigh")
                assert value(prometheus, "sum(increase(whisper_gateway_worker_deaths_total[5m]))") > 0
            result.assert_all_right()
            assert value(prometheus, "sum(whisper:gateway_errors:ratio5m)") == 0
    finally:
        assert gateway.stop() == 0


def kill_a_worker_at_work(server: Server, gateway: Gateway, result: Load) -> None:
    """After its next answer, when it has all clients' windows; returns when another worker has its place."""
    before = result.count
    until(lambda: result.count > before, 90)
    (worker,) = server.worker_pids()
    os.kill(worker, signal.SIGSTOP)
    until(lambda: gateway.windows() >= 3, 90)
    os.kill(worker, signal.SIGKILL)
    until(lambda: server.worker_pids() not in ([], [worker]), 90)


def test_memory_runs_out_in_the_worker(prometheus: Prometheus, server: Server, gateway: Gateway) -> None:
    """OutOfMemory: the batch is halved, the callers only wait, and it goes on when there is room."""
    (worker,) = server.worker_pids()
    with survived(server, gateway) as readiness, load(gateway, clients=2) as few:
        until(lambda: few.count >= 2, 90)
        readiness.broken_now()
        started = time.monotonic()
        with ExitStack() as limit:
            limit.enter_context(starved(worker))
            with load(gateway, clients=24) as many:  # needs more memory than the worker ever had
                crowd(worker, gateway, 20)
                until(lambda: value(prometheus, "sum(increase(whisper_oom_total[5m]))") > 0, SHOWN_WITHIN_S)
                limit.close()
                before = many.count
                assert_fires(prometheus, "OutOfMemory")
                until(lambda: many.count > before + 8)
                took = time.monotonic() - started
    few.assert_all_right()
    many.assert_all_right()
    record(
        "worker out of memory (address-space limit) under 26 clients until its metric shows it",
        took,
        "eight answers after the limit was lifted",
        "every answer right, no client retried; the alert OutOfMemory fires",
        readiness.back_after_s,
    )


def test_more_audio_than_may_wait(server: Server, tmp_path: Path) -> None:
    """GatewayRejecting: 429 and when to come again."""
    body = CLIP.read_bytes()
    seconds = len(media.decode(body, Limits()).samples) / SAMPLE_RATE
    gateway = Gateway(tmp_path, [server], GATEWAY_ADMISSION__MAX_QUEUED_AUDIO_S=str(2.5 * seconds))
    answers: list[requests.Response] = []
    try:
        gateway.wait_ready()
        with (
            watched(tmp_path, server, gateway) as prometheus,
            in_background(lambda: answers.append(send(gateway, body)), threads=6),
        ):
            assert_fires(prometheus, "GatewayRejecting")
            asked = 'sum(rate(whisper_gateway_rejected_total{reason="queue_full"}[1m]))'
            until(lambda: value(prometheus, asked) > 0, SHOWN_WITHIN_S)
    finally:
        assert gateway.stop() == 0
    assert {answer.status_code for answer in answers} == {200, 429}
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert refused.json()["error"]["code"] == "queue_full" and int(refused.headers["Retry-After"]) > 0


def test_torchserve_is_gone(tmp_path: Path) -> None:
    """TargetDown, WorkerDown and ModelDown; nobody starts Java again here, as serve.sh would."""
    server = started_server(tmp_path / "server")
    gateway = Gateway(tmp_path, [server])
    try:
        gateway.wait_ready()
        with watched(tmp_path, server, gateway) as prometheus:
            os.kill(server.pid, signal.SIGKILL)
            until(lambda: not gateway.is_ready())
            reasons = requests.get(f"{gateway.url}/health/ready", timeout=10).json()["reasons"]
            assert reasons == ["no upstream has answered its canary lately"]
            late = gateway.transcribe(**{"X-Request-Deadline": "2"})  # else it waits for minutes
            assert (late.status_code, late.json()["error"]["code"]) == (504, "deadline_exceeded")
            assert_fires(prometheus, "TargetDown")
            assert_fires(prometheus, "WorkerDown")
            assert_fires(prometheus, "ModelDown")
            assert value(prometheus, "sum(whisper_gateway_upstream_up)") == 0
        assert f"{server.url} does not answer" in gateway.log.read_text()
    finally:
        with server:
            assert gateway.stop() == 0


def test_a_broken_keys_file_and_an_empty_one(server: Server, tmp_path: Path) -> None:
    """Every answer is a 401 although the gateway is ready, or the old keys stay; the log says which."""
    keys = tmp_path / "keys.yaml"
    keys.write_text("keys: [{name: a, key: sk-a-0123456789abcdef}]")
    gateway = Gateway(tmp_path, [server], GATEWAY_ACCESS__KEYS_FILE=str(keys))
    mine = {"Authorization": "Bearer sk-a-0123456789abcdef"}
    try:
        gateway.wait_ready(**mine)
        with watched(tmp_path, server, gateway) as prometheus:
            replace(keys, "keys: [{name: a")
            until(lambda: asked(gateway, mine) and "the keys stay as they were" in gateway.log.read_text())
            assert gateway.transcribe(**mine).status_code == 200
            replace(keys, "keys: []")
            until(lambda: gateway.transcribe(**mine).status_code == 401)
            assert gateway.is_ready()
            rejected = 'sum(whisper_gateway_rejected_total{reason="invalid_api_key"})'
            until(lambda: value(prometheus, rejected) > 0, SHOWN_WITHIN_S)
    finally:
        assert gateway.stop() == 0


def asked(gateway: Gateway, headers: dict[str, str]) -> bool:
    """Asks with a key, for the keys file is looked at with a request."""
    requests.get(f"{gateway.url}/v1/models", headers=headers, timeout=30)
    return True


def replace(file: Path, text: str) -> None:
    """In one step, as an editor or a mounted secret does."""
    partial = file.with_suffix(".partial")
    partial.write_text(text)
    partial.replace(file)
