"""Prometheus scrapes the server under load; every panel of the dashboard that is the handler's shows data."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from tests.asr.containers import tone, wav
from tests.dashboard import RATE_INTERVAL, Panel, Prometheus, read_panels
from tests.live import prometheus as debian
from tests.live.server.calls import Api

pytestmark = [
    pytest.mark.server,
    pytest.mark.skipif(not debian.is_installed(), reason="prometheus is not installed"),
]

DATA_WITHIN_S = 90
PANELS = [panel for panel in read_panels() if panel.expressions]
OF_THE_GATEWAY = [panel for panel in PANELS if any("whisper_gateway_" in one for one in panel.expressions)]
OF_THE_HANDLER = [panel for panel in PANELS if panel not in OF_THE_GATEWAY]
NEEDS_A_GPU = ("GPU memory",)


def load(api: Api, stop: threading.Event) -> None:
    """Requests of every kind that the panels tell apart, until told to stop."""
    speech = wav(tone(2.0))
    while not stop.is_set():
        api.send(
            files={"file": ("a.wav", speech)},
            data={"language": "en", "vad_filter": "false", "max_tokens": "5"},  # falls back
            headers={"X-Request-Start": str(time.time() - 0.5)},
        )
        api.form(speech, stream="true")
        api.form(speech, language="xx")


@pytest.fixture(scope="module")
def prometheus(api: Api, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    address = api.server.metrics.removeprefix("http://")
    stop = threading.Event()
    clients = [threading.Thread(target=load, args=(api, stop)) for _ in range(2)]
    with debian.running(tmp_path_factory.mktemp("prometheus"), {"torchserve": [address]}) as server:
        for client in clients:
            client.start()
        try:
            yield server
        finally:
            stop.set()
            for client in clients:
                client.join()


def data_of(prometheus: Prometheus, expression: str) -> bool:
    return any(one.has_data for one in prometheus.now(expression.replace(RATE_INTERVAL, "1m")))


def test_the_server_is_scraped(prometheus: Prometheus) -> None:
    give_up = time.monotonic() + DATA_WITHIN_S
    while not data_of(prometheus, "whisper:rtfx:rate5m > 0"):
        assert time.monotonic() < give_up
        time.sleep(0.5)
    (up,) = prometheus.now("up")
    assert up.value == 1 and up.labels["job"] == "torchserve"
    assert data_of(prometheus, 'sum(whisper_requests_total{outcome="invalid_value"}) > 0')


@pytest.mark.parametrize("panel", OF_THE_HANDLER, ids=lambda panel: panel.title)
def test_a_panel_of_the_handler_has_data(prometheus: Prometheus, panel: Panel) -> None:
    """In each of its queries; a GPU's has at least to be one."""
    waiting = list(panel.expressions)
    give_up = time.monotonic() + DATA_WITHIN_S
    while waiting and time.monotonic() < give_up:
        waiting = [expression for expression in waiting if not data_of(prometheus, expression)]
        if panel.title in NEEDS_A_GPU:
            return
        time.sleep(0.5 if waiting else 0)
    assert waiting == []


@pytest.mark.parametrize("panel", OF_THE_GATEWAY, ids=lambda panel: panel.title)
def test_a_panel_of_the_gateway_asks_valid_questions(prometheus: Prometheus, panel: Panel) -> None:
    """That they have data is tested beside a gateway."""
    for expression in panel.expressions:
        prometheus.now(expression.replace(RATE_INTERVAL, "1m"))


def test_an_invalid_question_is_found(prometheus: Prometheus) -> None:
    with pytest.raises(ValueError, match="parse error"):
        prometheus.now("sum(rate(whisper_requests_total[1m])")
