"""The gateway's metrics as documented, and its panels of the dashboard over a Prometheus that scrapes it."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import requests

from tests.dashboard import RATE_INTERVAL, Panel, Prometheus, read_panels
from tests.gateway.realtime.streams import speech_pcm, stream
from tests.live import prometheus as debian

pytestmark = pytest.mark.slow

if TYPE_CHECKING:
    from tests.gateway.served import Gateway

PAGE = Path(__file__).resolve().parents[2] / "docs" / "metrics.md"
DATA_WITHIN_S = 60
PANELS = [panel for panel in read_panels() if any("whisper_gateway_" in one for one in panel.expressions)]
assert PANELS, "no panel asks for the gateway's metrics"


def shown(gateway: Gateway) -> dict[str, str]:
    """Name → type of every metric of the gateway."""
    text = requests.get(f"{gateway.url}/metrics", timeout=30).text
    return dict(re.findall(r"^# TYPE (\w+) (\w+)$", text, re.MULTILINE))


def test_the_page_lists_the_gateways_metrics(gateway: Gateway) -> None:
    rows = [
        line.split("|") for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| `")
    ]
    listed = {name: row[2].strip() for row in rows for name in re.findall(r"`(whisper_gateway_\w+)`", row[1])}
    assert listed == shown(gateway)


def load(gateway: Gateway, speech: Path, stop: threading.Event) -> None:
    """Answers, streams and refusals, until told to stop."""
    url = f"{gateway.url}/v1/audio/transcriptions"
    audio = speech.read_bytes()
    while not stop.is_set():
        for body, is_stream in ((audio, "false"), (audio, "true"), (b"no audio", "false")):
            form = {"model": "whisper-1", "stream": is_stream}
            requests.post(url, files={"file": ("a.wav", body)}, data=form, timeout=60)
        speak(gateway)


def speak(gateway: Gateway) -> None:
    """A turn with a look at it while it is open."""
    with stream(gateway.url) as client:
        client.update(turn_detection=None, transcription={"delay": "minimal"})
        client.append(speech_pcm(0, 2.0))
        client.until(".delta")
        client.commit()
        client.until(".completed")


@pytest.fixture(scope="module")
def prometheus(
    gateway: Gateway, speech: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Prometheus]:
    if not debian.is_installed():
        pytest.skip("prometheus is not installed")
    stop = threading.Event()
    client = threading.Thread(target=load, args=(gateway, speech, stop))
    targets = {"gateway": [gateway.url.removeprefix("http://")]}
    with debian.running(tmp_path_factory.mktemp("prometheus"), targets) as server:
        client.start()
        try:
            yield server
        finally:
            stop.set()
            client.join()


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel.title)
def test_a_panel_of_the_gateway_has_data(prometheus: Prometheus, panel: Panel) -> None:
    waiting = [expression.replace(RATE_INTERVAL, "1m") for expression in panel.expressions]
    give_up = time.monotonic() + DATA_WITHIN_S
    while waiting and time.monotonic() < give_up:
        waiting = [
            expression
            for expression in waiting
            if not any(one.has_data for one in prometheus.now(expression))
        ]
        time.sleep(0.5 if waiting else 0)
    assert waiting == []


@pytest.mark.parametrize(
    "name",
    ["whisper:gateway_rtf:mean5m", "whisper_gateway_rejected_total", "whisper_gateway_requests_total"],
)
def test_what_the_rules_ask_for_is_there(prometheus: Prometheus, name: str) -> None:
    give_up = time.monotonic() + DATA_WITHIN_S
    while not prometheus.now(name):
        assert time.monotonic() < give_up
        time.sleep(0.5)
