"""With `deterministic` a window's outcome is the same bits in whatever company it is decoded."""

from __future__ import annotations

from dataclasses import replace

import pytest

from asr.schema import EngineSeconds
from tests.asr.checkpoints import random_audio
from tests.asr.engines.processor import PRECISIONS
from tests.asr.engines.reference import window

pytestmark = pytest.mark.slow

NEIGHBOUR_OPTIONS = [
    {"language": "hi", "prompt": tuple(range(300, 420))},
    {"language": "en", "without_timestamps": True},
    {"language": None, "suppress_tokens": (4, 5)},
    {"language": "de", "temperature": 0.7},
    {"language": "fr", "max_tokens": 3, "word_timestamps": True},
]


def neighbours(count):
    return [
        window(
            random_audio(1 + index % 4, 90 + index),
            **({"max_tokens": 12} | NEIGHBOUR_OPTIONS[index % len(NEIGHBOUR_OPTIONS)]),
        )
        for index in range(count)
    ]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_neighbours_change_nothing(multilingual, precision):
    engine = multilingual.engine_with(deterministic=True, max_batch_size=16, precision=precision)
    piece = window(random_audio(4.4, 2), word_timestamps=True, token_logprobs=True, max_tokens=20)
    [alone] = engine.decode([piece])
    assert len(alone.tokens) > 3
    for count, place in ((1, 1), (2, 0), (7, 3), (15, 15)):
        batch = neighbours(count)
        batch.insert(place, piece)
        together = engine.decode(batch)[place]
        assert replace(together, seconds=EngineSeconds()) == replace(alone, seconds=EngineSeconds())


@pytest.mark.parametrize("options", [{}, {"beam_size": 3}, {"temperature": 0.6, "best_of": 2}])
def test_results_are_those_of_the_free_engine(multilingual, options):
    fixed = multilingual.engine_with(deterministic=True, max_batch_size=4)
    pieces = [window(random_audio(3, seed), language="en", max_tokens=20, **options) for seed in range(3)]
    for ours, free in zip(fixed.decode(pieces), multilingual.engine.decode(pieces), strict=True):
        assert ours.tokens == free.tokens
        assert ours.avg_logprob == pytest.approx(free.avg_logprob, abs=1e-4)


@pytest.mark.parametrize("deterministic", [False, True])
def test_samples_do_not_depend_on_how_long_a_neighbour_may_be(multilingual, deterministic):
    engine = multilingual.engine_with(deterministic=deterministic)
    options = {"language": "en", "temperature": 0.6, "best_of": 2}
    piece = window(random_audio(3, 5), max_tokens=12, **options)
    longer = window(random_audio(3, 6), max_tokens=40, **options)
    [alone] = engine.decode([piece])
    assert engine.decode([piece, longer])[0].tokens == alone.tokens


@pytest.mark.parametrize("settings", [{"deterministic": True, "max_batch_size": 2}, {}])
def test_a_row_that_waits_at_the_last_position_stays_there(make_pair, monkeypatch, settings):
    """A long prompt reaches the last position before its neighbour reaches its cap, and is fed on."""
    engine = make_pair(seed=3, end_weight=0.0).engine_with(**settings)
    model = engine.model
    monkeypatch.setattr(model, "_settings", replace(model._settings, compaction=False))
    pieces = [
        window(random_audio(1, seed), language="en", prompt=prompt)
        for seed, prompt in enumerate([tuple(range(300, 530)), ()])
    ]
    assert [len(one.tokens) for one in model.decode(pieces, lambda *_: None)] == [222, 224]
