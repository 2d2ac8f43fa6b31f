"""Metrics: what a known load leaves behind."""

from __future__ import annotations

import re
import shutil
import subprocess
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.observe.metrics import Metrics
from gateway.observe.record import RequestRecord
from gateway.observe.stats import StatsCollector

ROUTE = "/v1/audio/transcriptions"
DISPATCHER = {
    "outstanding": 5, "waiting_windows": 7, "waiting_audio_s": 12.5, "sent": 100, "retries": 2, "resent": 1,
    "deaths": 1, "upstreams": [{"url": "http://a:8080", "alive": True, "workers": 2, "outstanding": 5}],
    "models": [{"name": "hindi", "ready": False, "windows": 4, "loads": 3}],
}  # fmt: skip


def loaded() -> Metrics:
    metrics = Metrics()
    for status, code in ((200, None), (200, None), (429, "queue_full"), (400, "invalid_value")):
        record = RequestRecord(
            route=ROUTE,
            status=status,
            caller="alice",
            error_code=code,
            audio_s=30,
            windows=1,
            seconds=0.2,
            model="hindi" if status == 200 else None,
        )
        record.stages_s["prepare"] = 0.05
        record.fallbacks["logprob"] = 2
        metrics.observe(record)
    metrics.observe(RequestRecord(route=ROUTE, status=401, error_code="invalid_api_key", first_event_s=0.3))
    metrics.refuse("headers_too_slow")
    parts: Any = SimpleNamespace(
        fleet=SimpleNamespace(stats=lambda: DISPATCHER),
        admission=SimpleNamespace(
            stats=lambda: {"requests": 3, "queued_audio_s": 90.0, "audio_s_per_s": 4.0}
        ),
        pool=SimpleNamespace(stats=lambda: {"processes": 2, "busy": 1, "prepared": 4}),
    )
    metrics.registry.register(StatsCollector(parts))
    return metrics


def samples(text: str) -> dict[str, float]:
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            found[sample.name.removeprefix("whisper_gateway_") + (f"{{{labels}}}" if labels else "")] = (
                sample.value
            )
    return found


def test_the_values_are_those_of_the_load() -> None:
    found = samples(loaded().exposition().decode())
    assert found[f"requests_total{{caller=alice,model=hindi,route={ROUTE},status=200}}"] == 2
    assert found[f"requests_total{{caller=none,model=none,route={ROUTE},status=401}}"] == 1
    assert found["audio_seconds_total{caller=alice,model=hindi}"] == 60  # of answered requests only
    assert found["rejected_total{reason=queue_full}"] == 1
    assert found["rejected_total{reason=headers_too_slow}"] == 1
    assert "rejected_total{reason=invalid_value}" not in found  # a mistake, not a limit
    assert found[f"request_seconds_count{{model=hindi,route={ROUTE}}}"] == 2
    assert found[f"request_seconds_count{{model=none,route={ROUTE}}}"] == 3
    assert found["first_event_seconds_count"] == 1
    assert found["stage_seconds_count{stage=prepare}"] == 4
    assert (found["windows_total{model=hindi}"], found["windows_total{model=none}"]) == (2, 2)
    assert (found["fallbacks_total{reason=logprob}"], found["fallbacks_total{reason=compression_ratio}"]) == (
        8,
        0,
    )


def test_the_parts_are_asked_when_prometheus_asks() -> None:
    found = samples(loaded().exposition().decode())
    assert (found["windows_outstanding"], found["windows_waiting"], found["waiting_audio_seconds"]) == (
        5,
        7,
        12.5,
    )
    assert (found["window_retries_total"], found["worker_deaths_total"]) == (2, 1)
    assert found["upstream_up{upstream=http://a:8080}"] == 1
    assert found["model_ready{model=hindi}"] == 0
    assert (found["model_windows{model=hindi}"], found["model_loads_total{model=hindi}"]) == (4, 3)
    assert (found["admitted_audio_seconds"], found["media_busy"]) == (90, 1)
    assert found["media_prepared_total"] == 4


def test_every_name_has_the_prefix_and_a_help_text() -> None:
    text = loaded().exposition().decode()
    names = re.findall(r"^# TYPE (\S+)", text, re.MULTILINE)
    assert len(names) > 15 and all(name.startswith("whisper_gateway_") for name in names)
    assert len(re.findall(r"^# HELP \S+ \S", text, re.MULTILINE)) == len(names)


def test_promtool_finds_nothing_to_say() -> None:
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("no promtool")
    checked = subprocess.run(
        [program, "check", "metrics"], input=loaded().exposition(), capture_output=True, timeout=60
    )
    assert (checked.returncode, checked.stderr + checked.stdout) == (0, b"")
