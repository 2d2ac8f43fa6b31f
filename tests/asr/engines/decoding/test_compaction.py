"""Rows of finished windows leave the batch; without that, the same results from wider steps."""

from __future__ import annotations

from dataclasses import replace

import pytest

from asr.schema import EngineSeconds
from tests.asr.checkpoints import random_audio
from tests.asr.engines.reference import window


def decoded(engine, pieces, compaction, monkeypatch):
    """Outcomes without their seconds, and the rows of every step."""
    model = engine.model
    widths = []
    step = model._decoder.step
    with monkeypatch.context() as patch:
        patch.setattr(model, "_settings", replace(model._settings, compaction=compaction))
        patch.setattr(
            model._decoder, "step", lambda tokens, *rest: widths.append(len(tokens)) or step(tokens, *rest)
        )
        found = engine.decode(pieces)
    return [replace(one, seconds=EngineSeconds()) for one in found], widths


@pytest.mark.parametrize(("options", "rows"), [({}, 1), ({"beam_size": 2}, 2)])
def test_the_results_are_the_same(multilingual, monkeypatch, options, rows):
    lengths = (12, 3, 7, 1)
    pieces = [
        window(random_audio(3, seed), language="en", max_tokens=length, **options)
        for seed, length in enumerate(lengths)
    ]
    with_it, narrow = decoded(multilingual.engine, pieces, True, monkeypatch)
    without, wide = decoded(multilingual.engine, pieces, False, monkeypatch)
    assert [one.tokens for one in with_it] == [one.tokens for one in without]
    assert set(wide) == {len(pieces) * rows}
    assert narrow == sorted(narrow, reverse=True)
    assert narrow[0] < wide[0]
    assert len(narrow) == len(wide)


@pytest.mark.parametrize("options", [{}, {"beam_size": 2}])
def test_a_window_is_told_when_it_is_done(multilingual, options):
    """And the last one is not: its batch ends with it."""
    pieces = [
        window(random_audio(3, seed), language="en", max_tokens=length, **options)
        for seed, length in enumerate((12, 3, 7, 1))
    ]
    told = []
    found = multilingual.engine.decode(pieces, lambda *each: told.append(each))
    assert [place for place, _ in told] == [3, 1, 2]
    for place, early in told:
        assert replace(early, seconds=EngineSeconds()) == replace(found[place], seconds=EngineSeconds())
        assert early.seconds.decode <= found[place].seconds.decode


def test_a_window_with_word_times_is_not_told_without_them(multilingual):
    pieces = [
        window(random_audio(3, seed), language="en", max_tokens=length, word_timestamps=True)
        for seed, length in enumerate((12, 3))
    ]
    told = []
    assert multilingual.engine.decode(pieces, lambda *each: told.append(each))[1].alignment is not None
    assert told == []
