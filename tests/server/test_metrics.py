"""The metrics address after a known load."""

from __future__ import annotations

import time

import pytest
import requests

from tests.asr.containers import tone, wav
from tests.server.calls import Api

pytestmark = pytest.mark.server


def total(counters: dict[str, float], name: str, *labels: str) -> float:
    return sum(
        value
        for key, value in counters.items()
        if key.partition("{")[0] == name and all(label in key for label in labels)
    )


def test_counters_follow_a_known_load(api: Api) -> None:
    before = api.counters()

    def grown(name: str, *labels: str) -> float:
        return total(api.counters(), name, *labels) - total(before, name, *labels)

    for _ in range(3):
        assert api.form(wav(tone(2.0))).status_code == 200
    for _ in range(2):
        assert api.form(wav(tone(2.0)), language="xx").status_code == 400
    assert api.send("healthz").status_code == 200

    give_up = time.monotonic() + 60  # samples travel through the worker's output, behind the answers
    while grown("whisper_requests_total") < 5 and time.monotonic() < give_up:
        time.sleep(0.2)
    assert grown("whisper_requests_total", 'outcome="ok"', 'language="en"') == 3
    assert grown("whisper_requests_total", 'outcome="invalid_value"', 'language="none"') == 2
    assert grown("whisper_requests_total") == 5
    assert grown("whisper_audio_seconds_total") == pytest.approx(6.0)
    assert grown("whisper_windows_total") >= 3
    assert grown("whisper_rtf_count") == 3
    for stage in ("media", "encode", "decode"):
        assert grown("whisper_stage_seconds_total", f'stage="{stage}"') > 0


def test_torchserves_own_counters_are_kept(api: Api) -> None:
    text = requests.get(f"{api.server.metrics}/metrics", timeout=30).text
    assert "ts_inference_requests_total" in text and "Requests2XX" in text
