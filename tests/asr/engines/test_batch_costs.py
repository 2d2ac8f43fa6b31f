"""How many windows a batch has, from what batches cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr.engine import OnFound
from asr.engines import base
from asr.engines.batch_costs import PAYS, BatchCosts
from asr.schema import DecodingOptions, EngineSeconds, Hypothesis, Window
from tests.asr.engines.conftest import Pair

LONG, SHORT = 3_000, 1_000


def windows(count: int, frames: int = LONG, **options: object) -> list[Window]:
    one = Window(np.zeros(1600, np.int16), 10, DecodingOptions(language="en"), encoder_frames=frames)
    return [replace(one, options=replace(one.options, **options))] * count  # type: ignore[arg-type]


def full(count: int, *, tokens: int = 75, decoding: float = 0.0) -> list[Hypothesis]:
    seconds = EngineSeconds(features=1e-3, decode=decoding)
    return [Hypothesis((1,) * tokens, 0.0, 0.0, 0.0, "en", seconds=seconds)] * count


def costs(*measured: tuple[int, float], limit_s: float | None = 2.0, frames: int = LONG) -> BatchCosts:
    made = BatchCosts(16, limit_s)
    for count, seconds in measured:
        made.record(windows(count, frames), full(count, tokens=frames // 40), seconds)
    return made


def test_nothing_measured_or_no_limit_allows_full_batches() -> None:
    assert costs().most_together(LONG) == 16
    assert costs((1, 9.0), limit_s=None).most_together(LONG) == 16


def test_a_batch_takes_as_long_as_it_may() -> None:
    assert costs((1, 0.5)).most_together(LONG) == 4
    assert costs((1, 0.5), (2, 0.6), (4, 0.8)).most_together(LONG) == 10
    assert costs((1, 0.001)).most_together(LONG) == 16


def test_windows_that_are_slow_alone_are_still_decoded_together_where_that_pays() -> None:
    measured = ((1, 3.4), (2, 4.9), (4, 7.6))
    assert PAYS * 3.4 > 7.6
    assert costs(*measured).most_together(LONG) == 5
    assert costs((1, 10.0), (2, 21.0)).most_together(LONG) == 3


def test_another_length_costs_in_proportion_until_it_is_measured() -> None:
    made = costs((1, 1.6))
    assert made.most_together(SHORT) == 3
    made.record(windows(1, SHORT), full(1), 0.1)
    assert (made.most_together(SHORT), made.most_together(LONG)) == (16, 3)


def test_unusual_windows_do_not_count() -> None:
    made = BatchCosts(16, 2.0)
    made.record(windows(1, task="detect_language"), full(1), 0.01)
    made.record(windows(1, beam_size=5), full(1), 60.0)
    made.record(windows(1, temperature=0.4, best_of=5), full(1), 60.0)
    made.record(windows(1), [replace(full(1)[0], seconds=EngineSeconds())], 0.01)  # encoded before
    assert made.most_together(LONG) == 16


def test_a_machine_that_grows_slow_has_smaller_batches() -> None:
    made = costs((8, 1.6))
    assert made.most_together(LONG) == 10
    for _ in range(60):
        made.record(windows(8), full(8), 8.0)
    assert made.most_together(LONG) == 3


def test_a_busy_moment_changes_nothing_much() -> None:
    made = costs((8, 1.6))
    made.record(windows(8), full(8), 80.0)
    assert made.most_together(LONG) == 9


def test_a_window_of_few_words_counts_as_a_full_one() -> None:
    made = BatchCosts(16, 3.0)
    made.record(windows(1), full(1, tokens=15, decoding=0.1), 0.35)
    assert made.most_together(LONG) == 4  # of 0.25 + 5 * 0.1 s
    made.record(windows(1), full(1, tokens=3), 0.01)
    made.record(windows(1), full(1, tokens=0), 0.01)
    assert made.most_together(LONG) == 4


def test_a_size_first_decoded_in_a_busy_moment_is_decoded_again() -> None:
    assert costs((1, 1.0), (2, 20.0)).most_together(LONG) == 3


@given(
    st.lists(st.tuples(st.integers(1, 16), st.floats(1e-4, 100.0)), max_size=20),
    st.sampled_from([1_000, 1_500, 2_000, 2_500, 3_000]),
)
def test_there_is_always_a_batch(measured: list[tuple[int, float]], frames: int) -> None:
    assert 1 <= costs(*measured).most_together(frames) <= 16


def decoded_in_warm_up(pair: Pair, **config: object) -> list[tuple[int, int]]:
    """Windows and their encoder frames, batch by batch."""
    engine = pair.engine_with(device="cpu", max_batch_size=8, **config)
    seen: list[tuple[int, int]] = []
    decode = engine.model.decode

    def spy(batch: Sequence[Window], on_found: OnFound) -> list[Hypothesis]:
        seen.append((len(batch), batch[0].encoder_frames))
        return decode(batch, on_found)

    engine.model.decode = spy  # type: ignore[method-assign]
    engine.warm_up()
    return seen


def test_the_warm_up_measures_the_sizes_that_will_be_used(
    multilingual: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "MEASURING_S", 1e9)
    sizes = (1, 2, 4)
    short, long = ([(size, frames) for size in sizes] for frames in (SHORT, LONG))
    assert decoded_in_warm_up(multilingual, max_batch_s=1e9, full_windows=True) == [(1, LONG), *long]
    assert decoded_in_warm_up(multilingual, max_batch_s=1e9) == [(1, LONG), *short, *long]


def test_a_slow_machine_measures_single_windows_alone(
    multilingual: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "MEASURING_S", 0.0)
    assert decoded_in_warm_up(multilingual, max_batch_s=1e9) == [(1, LONG), (1, SHORT), (1, LONG)]


def test_fixed_shapes_are_not_measured(multilingual: Pair) -> None:
    assert decoded_in_warm_up(multilingual, deterministic=True) == [(1, LONG)]
