"""Bad windows, broken batches and full memory are outcomes, never exceptions, and stay with their window."""

from __future__ import annotations

import pytest
import torch

from asr.engines.device import is_out_of_memory
from asr.errors import EngineFailure, InvalidOption, Overloaded
from asr.schema import Hypothesis
from tests.asr.checkpoints import random_audio
from tests.asr.engines.reference import window


def pieces(count):
    return [window(random_audio(2, seed), language="en", max_tokens=5) for seed in range(count)]


def fail_when(engine, monkeypatch, is_bad, error):
    """Let the model raise on every batch for which `is_bad(windows)`; returns the sizes it was given."""
    model, sizes = engine.model, []
    whole = model.decode

    def decode(windows, on_found):
        sizes.append(len(windows))
        if is_bad(windows):
            raise error
        return whole(windows, on_found)

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


def beams(count, size, **options):
    return [
        window(random_audio(2, seed), **({"language": "en", "max_tokens": 5, "beam_size": size} | options))
        for seed in range(count)
    ]


@pytest.mark.parametrize(
    ("windows", "sizes"),
    [
        (beams(12, 5), [3, 3, 3, 3]),  # 15 of 16 rows
        (beams(3, 10), [1, 1, 1]),
        (beams(8, 2), [8]),
        (beams(16, 1), [16]),
        (beams(5, 5, beam_size=None, best_of=5, temperature=0.6), [3, 2]),  # samples are rows too
        (beams(5, 5, temperature=0.6), [5]),  # beams are searched at temperature 0 alone
        ([*beams(2, 10), *beams(7, 1)], [7, 2]),  # a batch with room takes the later windows that fit
    ],
    ids=["5 beams", "10 beams", "2 beams", "no beams", "samples", "no beams when sampled", "mixed"],
)
def test_beams_and_samples_count_as_rows(multilingual, monkeypatch, windows, sizes):
    engine = multilingual.engine_with(max_batch_size=16)
    seen = fail_when(engine, monkeypatch, lambda batch: False, None)
    outcomes = engine.decode(windows)
    assert seen == sizes
    assert all(isinstance(outcome, Hypothesis) for outcome in outcomes)
    alone = [engine.decode([one])[0] for one in windows]
    assert [one.tokens for one in outcomes] == [one.tokens for one in alone]


@pytest.mark.parametrize("deterministic", [False, True])
def test_one_window_of_ten_beams_runs_however_small_the_batches(multilingual, deterministic):
    engine = multilingual.engine_with(max_batch_size=1, deterministic=deterministic)
    [ours] = engine.decode(beams(1, 10))
    [free] = multilingual.engine.decode(beams(1, 10))
    assert isinstance(ours, Hypothesis) and ours.tokens == free.tokens


@pytest.mark.parametrize(("options", "rows"), [({"beam_size": 5}, 15), ({"beam_size": 10}, 10), ({}, 16)])
def test_rows_of_no_window_are_bounded_too(multilingual, monkeypatch, options, rows):
    """In deterministic mode a search has the same shapes whoever is there."""
    engine = multilingual.engine_with(max_batch_size=16, deterministic=True)
    decoder, seen = engine.model._decoder, []
    empty = decoder.self_cache

    def self_cache(windows, group, columns):
        seen.append(windows * group)
        return empty(windows, group, columns)

    monkeypatch.setattr(decoder, "self_cache", self_cache)
    engine.decode([window(random_audio(2, 1), language="en", max_tokens=5, **options)])
    assert seen == [rows]


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
        ({"suppress_tokens": (-3,)}, "suppress_tokens"),
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


def test_windows_that_are_told_keep_their_places_in_halves(multilingual, monkeypatch):
    engine = multilingual.engine_with()
    pieces = [
        window(random_audio(2, seed), language="en", max_tokens=length)
        for seed, length in enumerate((9, 2, 3, 8))
    ]
    fail_when(engine, monkeypatch, lambda windows: len(windows) > 2, MemoryError())
    told = {}
    found = engine.decode(pieces, told.__setitem__)
    assert sorted(told) == [1, 2]
    assert all(hypothesis.tokens == found[place].tokens for place, hypothesis in told.items())
