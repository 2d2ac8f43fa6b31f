"""What goes out as metrics: only declared ones, only lines that TorchServe's frontend can parse."""

from __future__ import annotations

import logging
import re
from dataclasses import replace
from pathlib import Path

import pytest
from ts.metrics.metric_cache_yaml_impl import MetricsCacheYamlImpl
from ts.metrics.metric_type_enum import MetricTypes

from adapter import metrics as adapter_metrics
from adapter.metrics import STAGES, ServiceMetrics, label, language_label, worker_name
from adapter.records import RequestRecord
from asr.sessions.driver import Batch
from tests.adapter.test_handler import PLAIN, good, window_row
from tests.adapter.worker import EchoEngine, Row, Worker, wav

CONFIG = Path(__file__).resolve().parents[2] / "config" / "metrics.yaml"
# as the frontend reads it, in Metric.java
LINE = re.compile(
    r"\[METRICS\]([\w\s]+)\.([\w\s]+):([0-9\-,.e]+)\|#([^|]*)\|#type:(\w+)\|#hostname:([^,]+),(\d+)"
)
MEMORY = ("whisper_worker_memory_bytes", "whisper_device_memory_bytes")  # the machine's, not the load's
RECORD = RequestRecord(
    "id", "file", 200, audio_s=2.0, wall_s=1.0, language="de", windows=3, silent_windows=1, queue_s=0.5,
    first_segment_s=0.75, fallbacks=(("logprob", 2),), stage_seconds=(("media", 0.25), ("decode", 0.5)),
)  # fmt: skip


@pytest.fixture
def metrics() -> ServiceMetrics:
    cache = MetricsCacheYamlImpl(str(CONFIG))
    cache.initialize_cache()
    return ServiceMetrics(
        lambda name, kind: cache.get_metric(name, MetricTypes(kind)), worker="9000", max_rows=4
    )


def lines(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str, float]]:
    """(name, labels, value) of every line sent since the last call, as the frontend reads it."""
    found = []
    for record in caplog.records:
        message = record.getMessage()
        if message.startswith("[METRICS]whisper"):
            match = LINE.fullmatch(message)
            assert match, f"the frontend cannot parse {message!r}"
            found.append((match[1], match[4], float(match[3])))
    caplog.clear()
    return found


def samples(caplog: pytest.LogCaptureFixture) -> dict[tuple[str, str], float]:
    """(name, labels) → the sum of the values sent since the last call; without memory."""
    found: dict[tuple[str, str], float] = {}
    for name, labels, value in lines(caplog):
        if name not in MEMORY:
            found[name, labels] = found.get((name, labels), 0.0) + value
    return found


@pytest.fixture(autouse=True)
def _at_info(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


def test_a_batch_is_summed_before_it_is_sent(
    metrics: ServiceMetrics, caplog: pytest.LogCaptureFixture
) -> None:
    refused = RequestRecord("id", "file", 400, error_code="invalid_value", audio_s=9.0, wall_s=0.125)
    metrics.publish([RECORD, RECORD, refused], 0)
    assert samples(caplog) == {
        ("whisper_requests_total", "kind:file,outcome:ok,language:de"): 2,
        ("whisper_requests_total", "kind:file,outcome:invalid_value,language:none"): 1,
        ("whisper_audio_seconds_total", "outcome:ok"): 4.0,
        ("whisper_audio_seconds_total", "outcome:invalid_value"): 9.0,
        ("whisper_windows_total", ""): 6,
        ("whisper_silent_windows_total", ""): 2,
        ("whisper_fallbacks_total", "reason:logprob"): 4,
        ("whisper_stage_seconds_total", "stage:media"): 0.5,
        ("whisper_stage_seconds_total", "stage:decode"): 1.0,
        ("whisper_request_seconds", "kind:file"): 2.125,
        ("whisper_rtf", ""): 1.0,
        ("whisper_queue_wait_seconds", ""): 1.0,
        ("whisper_first_segment_seconds", ""): 1.5,
        ("whisper_batch_fill_ratio", "of:rows"): 0.75,
    }


def test_counters_go_out_once_and_histograms_per_request(
    metrics: ServiceMetrics, caplog: pytest.LogCaptureFixture
) -> None:
    metrics.publish([RECORD] * 3, 0)
    names = [name for name, _, _ in lines(caplog)]
    assert names.count("whisper_windows_total") == names.count("whisper_requests_total") == 1
    assert names.count("whisper_request_seconds") == names.count("whisper_rtf") == 3


def test_forward_passes_are_counted_with_their_windows(
    metrics: ServiceMetrics, caplog: pytest.LogCaptureFixture
) -> None:
    metrics.batch(Batch(8, 8, 11))
    metrics.batch(Batch(3, 8, 3))
    sent = lines(caplog)
    assert sent == [("whisper_windows_outstanding", "worker:9000", 11), (*sent[1][:2], 3)]
    metrics.publish([], 0)
    sent = lines(caplog)
    assert ("whisper_batches_total", "", 2) in sent
    assert [value for _, labels, value in sent if labels == "of:windows"] == [1.0, 0.375]
    assert ("whisper_windows_outstanding", "worker:9000", 0) in sent
    metrics.publish([], 0)
    assert samples(caplog) == {("whisper_batch_fill_ratio", "of:rows"): 0}


def test_out_of_memory_is_counted_once(metrics: ServiceMetrics, caplog: pytest.LogCaptureFixture) -> None:
    for seen in (2, 2, 3):
        metrics.publish([], seen)
    assert samples(caplog)["whisper_oom_total", ""] == 3


def test_health_checks_are_not_requests(metrics: ServiceMetrics, caplog: pytest.LogCaptureFixture) -> None:
    metrics.publish([RequestRecord("id", "healthz", 200), RequestRecord("id", "model", 200)], 0)
    assert set(samples(caplog)) == {("whisper_batch_fill_ratio", "of:rows")}


def test_what_was_refused_unread_is_a_request(
    metrics: ServiceMetrics, caplog: pytest.LogCaptureFixture
) -> None:
    metrics.publish([RequestRecord("id", "unread", 404, error_code="not_found")], 0)
    assert samples(caplog)["whisper_requests_total", "kind:unread,outcome:not_found,language:none"] == 1


def test_rtf_is_that_of_answered_files(metrics: ServiceMetrics, caplog: pytest.LogCaptureFixture) -> None:
    failed = replace(RECORD, error_code="overloaded")
    metrics.publish([failed, replace(RECORD, kind="windows"), replace(RECORD, audio_s=0.0)], 0)
    assert not [key for key in samples(caplog) if key[0] == "whisper_rtf"]


def test_counters_are_there_before_their_first_event(
    metrics: ServiceMetrics, caplog: pytest.LogCaptureFixture
) -> None:
    metrics.started()
    sent = lines(caplog)
    assert ("whisper_oom_total", "", 0) in sent and ("whisper_fallbacks_total", "reason:logprob", 0) in sent
    assert {labels for name, labels, _ in sent if name == "whisper_stage_seconds_total"} == {
        f"stage:{stage}" for stage in STAGES
    }
    (start,) = [value for name, _, value in sent if name == "whisper_worker_start_seconds"]
    assert start > 1.7e9
    assert ("whisper_windows_outstanding", "worker:9000", 0) in sent
    (memory,) = [value for name, labels, value in sent if labels == "worker:9000,memory:host"]
    assert memory > 10_000_000


def test_gpu_memory_is_told_per_device(
    metrics: ServiceMetrics, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapter_metrics, "gpu_memory", lambda: {1: (5 << 30, 150_754_820_096)})
    monkeypatch.setattr(adapter_metrics, "device_memory_bytes", lambda: 3 << 30)
    metrics.publish([], 0)
    sent = lines(caplog)
    assert ("whisper_device_memory_bytes", "device:1,memory:used", 5 << 30) in sent
    assert ("whisper_device_memory_bytes", "device:1,memory:total", 150_754_820_096) in sent
    assert ("whisper_worker_memory_bytes", "worker:9000,memory:device", 3 << 30) in sent


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


def test_languages_are_a_bounded_set() -> None:
    assert [language_label(code) for code in ("de", None, "klingon", "")] == ["de", "none", "other", "other"]


@pytest.mark.parametrize(
    ("argv", "name"),
    [
        (["worker.py", "--sock-type", "unix", "--sock-name", "/tmp/x1/.ts.sock.9003", "--host", "a"], "9003"),
        (["worker.py", "--sock-type", "tcp", "--port", "9001"], "9001"),
        (["worker.py", "--sock-name"], "0"),
        (["pytest"], "0"),
    ],
)
def test_a_worker_is_named_by_its_socket(argv: list[str], name: str) -> None:
    assert worker_name(argv) == name


def test_the_handler_feeds_them(worker: Worker, caplog: pytest.LogCaptureFixture) -> None:
    caplog.clear()
    worker.ask(
        good(),
        good(),
        Row.form(wav(), **{**PLAIN, "language": "xx"}),
        window_row(),
        Row.raw(b"", path="healthz"),
    )
    found = samples(caplog)
    assert found["whisper_requests_total", "kind:file,outcome:ok,language:de"] == 2
    assert found["whisper_requests_total", "kind:windows,outcome:ok,language:de"] == 1
    assert found["whisper_requests_total", "kind:file,outcome:invalid_value,language:none"] == 1
    assert found["whisper_audio_seconds_total", "outcome:ok"] == pytest.approx(3.0)
    assert found["whisper_windows_total", ""] == 3
    assert found["whisper_batches_total", ""] == 1
    assert found["whisper_batch_fill_ratio", "of:windows"] == 0.75
    assert found["whisper_batch_fill_ratio", "of:rows"] == 5  # no batchSize: one place
    assert found["whisper_stage_seconds_total", "stage:decode"] == pytest.approx(0.009)


def test_a_long_file_is_outstanding_until_it_is_decoded(
    worker: Worker, engine: EchoEngine, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.clear()
    worker.ask(Row.form(wav(140.0), **PLAIN, stream="true"))
    sent = lines(caplog)
    outstanding = [value for name, _, value in sent if name == "whisper_windows_outstanding"]
    assert outstanding == [5, 2, 0]  # three and two rather than four and one
    assert len([name for name, _, _ in sent if name == "whisper_first_segment_seconds"]) == 1
