"""The files in config/: consistent with each other and with the code, every value explained."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

from asr.config import EngineConfig, HandlerConfig, Limits
from scripts.serve import addresses, settings
from scripts.serve.serve_error import ServeError
from tests.ops.commands import ROOT

CONFIG = ROOT / "config"
PROPERTIES = settings.read_properties(CONFIG / "config.properties")
MODEL = settings.read_model_config(CONFIG / "model-config.yaml")
METRICS = yaml.safe_load((CONFIG / "metrics.yaml").read_text(encoding="utf-8"))


def handler_config() -> HandlerConfig:
    return HandlerConfig.from_mapping(MODEL["handler"])


def test_every_property_has_a_reason_above_it() -> None:
    """A comment opens a group of lines; a line without one above it belongs to a group."""
    explained = False
    for line in (CONFIG / "config.properties").read_text(encoding="utf-8").splitlines():
        if not line.strip():
            explained = False
        elif line.startswith("#"):
            explained = True
        else:
            assert explained, f"no reason above {line}"


def test_every_value_of_the_model_configuration_has_a_reason() -> None:
    for line in (CONFIG / "model-config.yaml").read_text(encoding="utf-8").splitlines():
        if ":" in line.partition("#")[0] and not line.rstrip().endswith(":") and not line.startswith("#"):
            assert "#" in line, f"no reason beside {line}"


def test_the_addresses_are_loopback_and_grpc_too() -> None:
    addresses.check_exposure(PROPERTIES)
    for key in (*addresses.HTTP_ADDRESSES, *addresses.GRPC_ADDRESSES):
        assert "127.0.0.1" in PROPERTIES[key]


def test_the_sizes_fit_into_each_other() -> None:
    limits = handler_config().limits
    assert limits.max_upload_bytes < int(PROPERTIES["max_request_size"])
    assert int(PROPERTIES["max_request_size"]) >= 150_000_000
    heap = next(word for word in PROPERTIES["vmargs"].split() if word.startswith("-Xmx"))
    assert heap.endswith("g")
    assert int(heap[4:-1]) * 2**30 >= 500e6 + 4 * 3 * int(PROPERTIES["max_request_size"])
    assert any(word.startswith("-XX:MaxDirectMemorySize=") for word in PROPERTIES["vmargs"].split())


def test_the_times_fit_into_each_other() -> None:
    assert handler_config().limits.request_deadline_s < MODEL["responseTimeout"]
    assert MODEL["responseTimeout"] == 900
    for key, value in MODEL.items():
        if key != "handler":
            assert type(value) is int, f"TorchServe ignores {key}: {value!r}, which is not an integer"


def test_the_handler_section_is_complete_and_says_the_defaults() -> None:
    """The file shows every knob; a value that differs from the code's default would be a second truth."""
    config = handler_config()
    assert dataclasses.replace(config.engine, model="") == EngineConfig(model="")
    assert config.limits == Limits()
    assert set(MODEL["handler"]["engine"]) == {field.name for field in dataclasses.fields(EngineConfig)}
    assert set(MODEL["handler"]["limits"]) == {field.name for field in dataclasses.fields(Limits)}
    assert config.log_text is False


def declared(kind: str) -> dict[str, list[str]]:
    return {metric["name"]: metric["dimensions"] for metric in METRICS["model_metrics"][kind]}


def test_the_metrics_of_the_handler_are_declared() -> None:
    from adapter import metrics

    fed = {"counter": metrics.COUNTERS, "gauge": metrics.GAUGES, "histogram": metrics.HISTOGRAMS}
    for kind, names in fed.items():
        assert set(names) == {name for name in declared(kind) if name.startswith("whisper_")}
    assert declared("counter")["whisper_requests_total"] == ["kind", "outcome", "language"]
    assert declared("counter")["whisper_fallbacks_total"] == ["reason"]
    assert declared("counter")["whisper_stage_seconds_total"] == ["stage"]


def test_torchserves_own_counters_are_kept() -> None:
    kept = {metric["name"] for metric in METRICS["ts_metrics"]["counter"]}
    assert {"Requests2XX", "Requests4XX", "Requests5XX", "ts_inference_requests_total",
            "ts_inference_latency_microseconds", "ts_queue_latency_microseconds"} <= kept  # fmt: skip


def test_the_log_configuration_is_well_formed_and_refers_to_what_it_defines() -> None:
    root = ElementTree.parse(CONFIG / "log4j2.xml").getroot()
    appenders = {appender.get("name") for appender in root.iterfind("Appenders/*")}
    used = {reference.get("ref") for reference in root.iter("AppenderRef")}
    assert used == appenders
    levels = {logger.get("name"): logger.get("level") for logger in root.iter("Logger")}
    assert levels["org.pytorch.serve.wlm"] == "warn"


def test_a_line_that_is_not_a_property_is_named(tmp_path: Path) -> None:
    file = tmp_path / "config.properties"
    file.write_text("# fine\na=b\njust words\n")
    with pytest.raises(ServeError, match=r"config\.properties line 3: 'just words' is not key=value"):
        settings.read_properties(file)


def test_properties_survive_writing(tmp_path: Path) -> None:
    settings.write_properties(tmp_path / "config.properties", PROPERTIES)
    assert settings.read_properties(tmp_path / "config.properties") == PROPERTIES


@pytest.mark.parametrize("text", ["a: [1", "- 1\n- 2\n"])
def test_a_model_configuration_that_is_no_table_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "model-config.yaml"
    file.write_text(text)
    with pytest.raises(ServeError, match=r"model-config\.yaml"):
        settings.read_model_config(file)


def test_the_pins_are_exact() -> None:
    for name in ("requirements.txt", "requirements-clients.txt", "requirements-dev.txt"):
        lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
        for line in lines:
            if line and not line.startswith(("#", "-r ")):
                assert line.count("==") == 1, f"{name}: {line} is not pinned"
