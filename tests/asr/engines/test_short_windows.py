"""Encoders that hear less than 30 s: the model's own layers over fewer positions, in every backend."""

from __future__ import annotations

from dataclasses import replace

import pytest

from asr.config import EngineConfig
from asr.engines import load_engine
from asr.schema import Hypothesis, Window
from tests.asr.checkpoints import random_audio
from tests.asr.engines import reference
from tests.asr.engines.conftest import Pair
from tests.asr.engines.reference import assert_equal, window

pytestmark = pytest.mark.slow

LENGTHS = (1_000, 1_500, 1_000, 3_000, 1_500)


def pieces() -> list[Window]:
    return [
        replace(window(random_audio(3 + number, number), language="en"), encoder_frames=frames)
        for number, frames in enumerate(LENGTHS)
    ]


@pytest.fixture
def shortened_reference(multilingual: Pair, monkeypatch: pytest.MonkeyPatch):
    """openai-whisper's model, whose encoder takes as many frames as a window says."""
    model = multilingual.reference
    table = model.encoder.positional_embedding

    def decode(piece: Window) -> object:
        monkeypatch.setitem(
            model.encoder._buffers, "positional_embedding", table[: piece.encoder_frames // 2]
        )
        monkeypatch.setattr(reference, "WINDOW_FRAMES", piece.encoder_frames)
        try:
            return reference.decode(model, piece)
        finally:
            monkeypatch.undo()

    return decode


@pytest.mark.parametrize("backend", ["torch", "onnxruntime"])
def test_lengths_side_by_side_are_those_of_openai_whispers_layers(
    multilingual: Pair, shortened_reference, backend: str
) -> None:
    config = EngineConfig(
        str(multilingual.path),
        device="cpu",
        precision="float32",
        threads=1,
        loop_guard=False,
        backend=backend,
    )
    engine = load_engine(config)
    assert engine.spec.short_windows
    for ours, piece in zip(engine.decode(pieces()), pieces(), strict=True):
        assert_equal(ours, shortened_reference(piece))


def test_ctranslate2_takes_them_too(multilingual: Pair) -> None:
    pytest.importorskip("ctranslate2")
    common = {"model": str(multilingual.path), "device": "cpu", "threads": 1, "loop_guard": False}
    engine = load_engine(EngineConfig(backend="ctranslate2", compute_type="float32", **common))
    theirs = load_engine(EngineConfig(backend="torch", precision="float32", full_windows=False, **common))
    assert theirs.spec.short_windows
    for ours, other in zip(engine.decode(pieces()), theirs.decode(pieces()), strict=True):
        assert isinstance(ours, Hypothesis) and isinstance(other, Hypothesis)
        assert ours.tokens == other.tokens
