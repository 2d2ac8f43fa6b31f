"""Which backend a configuration gets."""

from __future__ import annotations

import logging

import pytest

from asr.config import ConfigError, EngineConfig
from asr.engines import load_engine, loading
from tests.asr.engines.conftest import Pair

CONFIG = {"device": "cpu", "threads": 1, "warm_up": False}


@pytest.mark.parametrize(
    ("precision", "description"), [("float32", "cpu onnxruntime float32"), ("bfloat16", "cpu bfloat16")]
)
def test_auto_is_onnxruntime_where_numbers_have_32_bits(
    multilingual: Pair, monkeypatch: pytest.MonkeyPatch, precision: str, description: str
) -> None:
    monkeypatch.setattr("asr.engines.device.cpu_multiplies_bfloat16", lambda: True)
    engine = load_engine(EngineConfig(str(multilingual.path), precision=precision, **CONFIG))
    assert engine.description == description


def test_auto_has_eight_bits_where_the_processor_has_no_16(
    multilingual: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asr.engines.device.cpu_multiplies_bfloat16", lambda: False)
    engine = load_engine(EngineConfig(str(multilingual.path), **CONFIG))
    assert engine.description == "cpu onnxruntime weights_int8"


def test_where_graphs_cannot_be_written_auto_is_torch(
    multilingual: Pair, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> None:
        raise ConfigError("engine.model cannot be converted: read-only")

    monkeypatch.setattr("asr.engines.ort.ort_engine.converted_model", refuse)
    config = EngineConfig(str(multilingual.path), precision="float32", **CONFIG)
    with caplog.at_level(logging.WARNING):
        assert load_engine(config).description == "cpu float32"
    assert "cannot be converted: read-only" in caplog.text
    with pytest.raises(ConfigError, match="read-only"):
        load_engine(EngineConfig(str(multilingual.path), backend="onnxruntime", **CONFIG))


def test_a_checkpoint_that_is_missing_is_missing_for_every_backend() -> None:
    for backend in ("auto", *loading.BACKENDS):
        if backend == "ctranslate2":
            continue  # its package may be missing too
        with pytest.raises(ConfigError, match="there is no such file"):
            load_engine(EngineConfig("nowhere.pt", backend=backend, **CONFIG))
