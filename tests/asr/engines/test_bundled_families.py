"""The two trained models of `whisper-models/` hear what the demo checkpoint hears."""

from __future__ import annotations

from pathlib import Path

import jiwer
import pytest

from asr.audio.prepare import prepare
from asr.config import EngineConfig, Limits
from asr.engines import load_engine
from asr.engines.loading import LoadableEngine
from asr.request.options import RequestOptions
from asr.sessions import open_session
from asr.sessions.driver import drive
from training.evaluate import normalised

pytest.importorskip("sherpa_onnx")

ROOT = Path(__file__).resolve().parents[3]
SAMPLES = ("hindi.opus", "digits.flac", "harvard.wav")


@pytest.fixture(scope="module", params=["ctc", "transducer"])
def engine(request: pytest.FixtureRequest) -> LoadableEngine:
    model = ROOT / "whisper-models" / f"demo-{request.param}"
    return load_engine(EngineConfig(model=str(model), device="cpu", threads=1))


@pytest.mark.parametrize("name", SAMPLES)
def test_it_hears_the_samples(engine: LoadableEngine, name: str) -> None:
    sample = ROOT / "samples" / name
    session = open_session(
        prepare(sample.read_bytes(), RequestOptions(), Limits()), RequestOptions(), engine.spec
    )
    drive(engine, [session])
    assert session.error is None
    reference = sample.with_suffix(".txt").read_text(encoding="utf-8")
    assert jiwer.wer(normalised(reference), normalised(session.transcript().text)) <= 0.15


def test_they_are_small(engine: LoadableEngine) -> None:
    folder = ROOT / "whisper-models" / f"demo-{'transducer' if engine.spec.hears_streams else 'ctc'}"
    assert sum(file.stat().st_size for file in folder.iterdir()) < 10_000_000
