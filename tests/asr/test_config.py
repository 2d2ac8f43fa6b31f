"""The `handler:` section: what is wrong is named with its key, its value and what would be right."""

from __future__ import annotations

import datetime
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from asr.config import ConfigError, EngineConfig, HandlerConfig, Limits

ROOT = Path(__file__).resolve().parents[2]


def section(**engine: Any) -> dict[str, Any]:
    return {"engine": {"model": "m.pt", **engine}}


def test_what_is_left_out_is_the_default() -> None:
    assert HandlerConfig.from_mapping(section()) == HandlerConfig(EngineConfig("m.pt"), Limits(), False)


def test_a_whole_number_is_a_number_of_seconds() -> None:
    limits = HandlerConfig.from_mapping({**section(), "limits": {"max_audio_seconds": 60}}).limits
    assert limits.max_audio_seconds == 60.0
    assert isinstance(limits.max_audio_seconds, float)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (None, "handler is None, must be an object"),
        ({}, "handler.engine is missing"),
        ({"engine": {}}, "handler.engine.model is missing"),
        ({"engine": 3}, "handler.engine is 3, must be an object"),
        (section(precison="auto"), "handler.engine.precison is unknown: did you mean precision?"),
        ({**section(), "modle": 1}, "handler.modle is unknown: known are engine, limits, log_text"),
        (section(cuda_graphs=False), "handler.engine.cuda_graphs is False, must be 'auto' or 'never'"),
        (
            section(backend="onnx"),
            "handler.engine.backend is 'onnx', must be 'auto', 'torch', 'ctranslate2' or",
        ),
        (section(max_batch_size=0), "handler.engine.max_batch_size is 0, must be greater than or equal to 1"),
        (section(workers="2"), "handler.engine.workers is '2', must be a valid integer"),
        (section(workers=True), "handler.engine.workers is True, must be a valid integer"),
        (section(warm_up=1), "handler.engine.warm_up is 1, must be a valid boolean"),
        (section(model=datetime.date(2026, 1, 1), threads=-1), "handler.engine.threads is -1"),
        (section(compute_type="int4"), "handler.engine.compute_type is 'int4'"),
        (
            section(compute_type="int8"),
            "handler.engine: compute_type is 'int8', which only the backends",
        ),
        ({**section(), "limits": {"max_audio_seconds": 0}}, "max_audio_seconds is 0, must be greater than 0"),
        ({**section(), "limits": {"max_audio_seconds": True}}, "max_audio_seconds is True, must be a valid"),
    ],
)
def test_what_is_wrong_is_named(raw: Any, message: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        HandlerConfig.from_mapping(raw)
    assert message in str(refusal.value)


def test_everything_that_is_wrong_is_named_at_once() -> None:
    with pytest.raises(ConfigError, match=r"handler\.engine\.threads is .*; handler\.log_text is "):
        HandlerConfig.from_mapping({**section(threads="all"), "log_text": "no"})


def test_the_limits_alone_load_no_pydantic() -> None:
    """It takes 11 MB, in every media process of the gateway."""
    program = "import sys, asr.audio.prepare; sys.exit('pydantic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False).returncode == 0
