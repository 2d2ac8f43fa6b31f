"""Bad windows, broken batches and full memory are outcomes, never exceptions, and stay with their window."""

from __future__ import annotations

import pytest
import torch

from asr.engines.torch_engine import is_out_of_memory
from asr.errors import EngineFailure, InvalidOption, Overloaded
from asr.schema import Hypothesis
from tests.asr.checkpoints import random_audio
from tests.asr.engines.upstream import window


def pieces(count):
    return [window(random_audio(2, seed), language="en", max_tokens=5) for seed in range(count)]


def fail_when(engine, monkeypatch, is_bad, error):
    """Let the model raise on every batch for which `is_bad(windows)`; returns the sizes it was given."""
    model, sizes = engine._loaded(), []
    whole = model.decode

    def decode(windows):
        sizes.append(len(windows))
        if is_bad(windows):
            raise error
        return whole(windows)

    monkeypatch.setattr(model, "decode", decode)
    return sizes


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError(),
        RuntimeError(
            "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"
        ),
        RuntimeError("could not create a primitive"),
    ],
)
def test_out_of_memory_halves_the_batch(multilingual, monkeypatch, error):
    engine = multilingual.engine_with()
    expected = engine.decode(pieces(8))
    sizes = fail_when(engine, monkeypatch, lambda windows: len(windows) > 2, error)
    outcomes = engine.decode(pieces(8))
    assert sizes == [8, 4, 2, 2, 4, 2, 2]
    assert engine.oom_count == 3
    assert [ours.tokens for ours in outcomes] == [ours.tokens for ours in expected]


def test_a_window_too_big_alone_is_overloaded(multilingual, monkeypatch):
    engine = multilingual.engine_with()
    windows = pieces(4)
    fail_when(
        engine,
        monkeypatch,
        lambda batch: any(w is windows[2] for w in batch),
        torch.OutOfMemoryError("out of memory"),
    )
    outcomes = engine.decode(windows)
    assert [type(outcome) for outcome in outcomes] == [Hypothesis, Hypothesis, Overloaded, Hypothesis]
    assert engine.oom_count == 3


def test_a_poisonous_window_fails_alone(multilingual, monkeypatch):
    engine = multilingual.engine_with()
    windows = pieces(5)
    sizes = fail_when(
        engine, monkeypatch, lambda batch: any(w is windows[1] for w in batch), ValueError("poison")
    )
    outcomes = engine.decode(windows)
    assert [type(outcome) for outcome in outcomes] == [Hypothesis, EngineFailure] + 3 * [Hypothesis]
    assert sizes == [5, 1, 1, 1, 1, 1]
    assert engine.oom_count == 0


@pytest.mark.parametrize(
    ("options", "param"),
    [
        ({"language": "xx"}, "language"),
        ({"language": "yue"}, "language"),  # large-v3 only
        ({"languages": ("en", "klingon")}, "language"),
        ({"task": "sing"}, "task"),
        ({"prompt": (60_000,)}, "prompt"),
        ({"prompt": (-1,)}, "prompt"),
        ({"suppress_tokens": (-2,)}, "suppress_tokens"),
        ({"beam_size": 0}, "beam_size"),
        ({"best_of": 0, "temperature": 1.0}, "best_of"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"temperature": -0.5}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"length_penalty": 1.5}, "length_penalty"),
        ({"beam_size": 5, "patience": 0.01}, "patience"),
    ],
)
def test_options_the_model_cannot_follow(multilingual, options, param):
    good = pieces(1)
    bad = window(random_audio(2, 1), **({"language": "en"} | options))
    first, second = multilingual.engine.decode([bad, *good])
    assert isinstance(first, InvalidOption)
    assert first.param == param
    assert isinstance(second, Hypothesis)


def test_nothing_to_decode(multilingual):
    assert multilingual.engine.decode([]) == []


def test_other_runtime_errors_are_not_memory():
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
