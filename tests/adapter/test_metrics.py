"""What goes out as metrics: only declared ones, only lines that TorchServe's frontend can parse."""

from __future__ import annotations

import logging
import re
from dataclasses import replace
from pathlib import Path

import pytest
from ts.metrics.metric_cache_yaml_impl import MetricsCacheYamlImpl
from ts.metrics.metric_type_enum import MetricTypes

from adapter.metrics import ServiceMetrics, label
from adapter.records import RequestRecord
from tests.adapter.served import Row, Worker, wav
from tests.adapter.test_handler import PLAIN, good

CONFIG = Path(__file__).resolve().parents[2] / "config" / "metrics.yaml"
# frontend: Metric.java
LINE = re.compile(
    r"\[METRICS\]([\w\s]+)\.([\w\s]+):([0-9\-,.e]+)\|#([^|]*)\|#type:(\w+)\|#hostname:([^,]+),(\d+)"
)
RECORD = RequestRecord(
    "id", "file", 200, audio_s=2.0, wall_s=1.0, language="de", windows=3,
    fallbacks=(("logprob", 2),), stage_seconds=(("media", 0.25), ("decode", 0.5)),
)  # fmt: skip


@pytest.fixture
def metrics() -> ServiceMetrics:
    cache = MetricsCacheYamlImpl(str(CONFIG))
    cache.initialize_cache()
    return ServiceMetrics(lambda name, kind: cache.get_metric(name, MetricTypes(kind)))


def samples(caplog: pytest.LogCaptureFixture) -> dict[tuple[str, str], float]:
    """(name, labels) → value of every line sent, added up as the frontend adds counters up."""
    found: dict[tuple[str, str], float] = {}
    for record in caplog.records:
        message = record.getMessage()
        if message.startswith("[METRICS]whisper"):
            match = LINE.match(message)
            assert match, f"the frontend cannot parse {message!r}"
            key = (match[1], match[4])
            found[key] = found.get(key, 0.0) + float(match[3])
    return found


@pytest.fixture(autouse=True)
def _at_info(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


def test_a_batch_is_summed_before_it_is_sent(
    metrics: ServiceMetrics, caplog: pytest.LogCaptureFixture
) -> None:
    refused = RequestRecord("id", "file", 400, error_code="invalid_value", audio_s=9.0)
    metrics.publish([RECORD, RECORD, refused], 0)
    assert samples(caplog) == {
        ("whisper_requests_total", "outcome:ok,language:de"): 2,
        ("whisper_requests_total", "outcome:invalid_value,language:none"): 1,
        ("whisper_audio_seconds_total", ""): 4.0,
        ("whisper_windows_total", ""): 6,
        ("whisper_fallbacks_total", "reason:logprob"): 4,
        ("whisper_stage_seconds_total", "stage:media"): 0.5,
        ("whisper_stage_seconds_total", "stage:decode"): 1.0,
        ("whisper_rtf", ""): 1.0,
    }


def test_out_of_memory_is_counted_once(metrics: ServiceMetrics, caplog: pytest.LogCaptureFixture) -> None:
    metrics.publish([], 2)
    metrics.publish([], 2)
    metrics.publish([], 3)
    assert samples(caplog) == {("whisper_oom_total", ""): 3}


def test_health_checks_are_not_requests(metrics: ServiceMetrics, caplog: pytest.LogCaptureFixture) -> None:
    metrics.publish([RequestRecord("id", "healthz", 200), RequestRecord("id", "model", 200)], 0)
    assert samples(caplog) == {}


def test_values_are_plain_decimals(metrics: ServiceMetrics, caplog: pytest.LogCaptureFixture) -> None:
    for seconds in (1e-9, 1.5e-5, 0.0001, 123_456.789, float("nan"), float("inf")):
        metrics.publish([replace(RECORD, audio_s=seconds, stage_seconds=(("media", seconds),))], 0)
    assert all("e" not in record.getMessage().split("|")[0].rpartition(":")[2] for record in caplog.records)
    assert samples(caplog)["whisper_stage_seconds_total", "stage:media"] == pytest.approx(123_456.7891)


@pytest.mark.parametrize("text", ["a:b", "a,b", "a|b", "a#b\n[METRICS]x", "नमस्ते", "", " ", "x" * 500])
def test_any_text_is_a_safe_label(
    metrics: ServiceMetrics, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    assert re.fullmatch(r"[A-Za-z0-9_.\-]{1,40}", label(text))
    metrics.publish([replace(RECORD, language=text, fallbacks=((text, 1),))], 0)
    assert len([key for key in samples(caplog) if key[0] == "whisper_requests_total"]) == 1


def test_the_handler_feeds_them(worker: Worker, caplog: pytest.LogCaptureFixture) -> None:
    worker.ask(good(), good(), Row.form(wav(), **{**PLAIN, "language": "xx"}), Row.raw(b"", path="healthz"))
    found = samples(caplog)
    assert found["whisper_requests_total", "outcome:ok,language:de"] == 2
    assert found["whisper_requests_total", "outcome:invalid_value,language:none"] == 1
    assert found["whisper_audio_seconds_total", ""] == pytest.approx(2.0)
    assert found["whisper_windows_total", ""] == 2
    assert found["whisper_stage_seconds_total", "stage:decode"] == pytest.approx(0.006)
