"""Stretches: every speech sample once, few and full windows, cut at the longest pauses, heard with room."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from asr.audio.levels import FRAME_SAMPLES
from asr.audio.stretches import AROUND_SAMPLES, Stretch, plan_stretches, unheard
from asr.constants import SAMPLES_PER_POSITION, WINDOW_SAMPLES
from asr.schema import SpeechSpan

SECOND = 16_000
LIMIT = 30 * SECOND

# (pause before, length) of each span, in samples
SPAN_LISTS = st.lists(st.tuples(st.integers(1, 8 * SECOND), st.integers(1, 70 * SECOND)), max_size=12)


def spans_of(gaps: Sequence[tuple[int, int]]) -> tuple[list[SpeechSpan], SpeechSpan]:
    spans, position = [], 0
    for pause, length in gaps:
        spans.append(SpeechSpan(position + pause, position + pause + length))
        position = spans[-1].end
    return spans, SpeechSpan(0, position + 1234)


def seconds(*edges: tuple[float, float]) -> list[SpeechSpan]:
    return [SpeechSpan(round(a * SECOND), round(b * SECOND)) for a, b in edges]


def speaking(bounds: SpeechSpan) -> np.ndarray:
    return np.full(-(-bounds.end // FRAME_SAMPLES), 0.9, np.float32)


def planned(spans: list[SpeechSpan], end_s: float, **more: int) -> tuple[Stretch, ...]:
    bounds = SpeechSpan(0, round(end_s * SECOND))
    return plan_stretches(spans, bounds, LIMIT, speaking(bounds), **more)


@given(
    SPAN_LISTS,
    st.integers(SECOND, WINDOW_SAMPLES),
    st.one_of(st.none(), st.integers(0, 5 * SECOND)),
    st.integers(0, 2**32 - 1),
)
def test_every_speech_sample_lies_in_exactly_one_stretch(
    gaps: list[tuple[int, int]], limit: int, max_gap: int | None, seed: int
) -> None:
    spans, bounds = spans_of(gaps)
    probs = np.random.default_rng(seed).random(-(-bounds.end // FRAME_SAMPLES)).astype(np.float32)
    stretches = plan_stretches(spans, bounds, limit, probs, max_gap)
    assert all(s.span.start <= s.speech.start < s.speech.end <= s.span.end for s in stretches)
    assert all(s.span.end - s.span.start <= limit for s in stretches)
    assert all(a.span.end <= b.span.start for a, b in itertools.pairwise(stretches))
    assert all(bounds.start <= s.span.start and s.span.end <= bounds.end for s in stretches)
    for span in spans:
        covered = sum(
            max(0, min(span.end, s.speech.end) - max(span.start, s.speech.start)) for s in stretches
        )
        assert covered == span.end - span.start
        if span.end - span.start <= limit:  # not cut
            assert any(s.speech.start <= span.start and span.end <= s.speech.end for s in stretches)


def test_a_file_that_fits_one_window_is_heard_from_its_first_sample() -> None:
    [stretch] = planned(seconds((3, 4), (20, 21)), 29)
    assert stretch == Stretch(SpeechSpan(3 * SECOND, 21 * SECOND), SpeechSpan(0, 29 * SECOND))


def test_slow_speech_fills_windows_whatever_its_pauses() -> None:
    spans = seconds(*((5 * k, 5 * k + 1) for k in range(24)))  # 1 s of speech every 5 s, two minutes
    stretches = planned(spans, 120)
    assert len(stretches) == 4  # six seconds of speech fit into a window


def test_windows_are_cut_at_the_longest_pause_within_reach() -> None:
    # greedily the first window would take three spans and end in the short pause at 26 s
    spans = seconds((1, 10), (10.6, 18), (20.5, 26), (26.6, 33), (33.6, 41))
    first, second = planned(spans, 60)
    assert first.speech == SpeechSpan(1 * SECOND, 18 * SECOND)
    assert second.speech == SpeechSpan(round(20.5 * SECOND), 41 * SECOND)


def test_no_scrap_is_left_where_its_speech_fits_a_neighbour() -> None:
    spans = seconds((0.5, 15), (16, 28.5), (31, 31.5), (32.2, 55))
    stretches = planned(spans, 60)
    assert [s.speech.start for s in stretches] == [SECOND // 2, 31 * SECOND]


def test_a_pause_ends_a_window_only_where_that_is_asked_for() -> None:
    spans = seconds((1, 5), (9, 12))
    assert len(planned(spans, 20)) == 1
    assert len(planned(spans, 20, max_gap_samples=3 * SECOND)) == 2


def test_a_second_around_the_speech_is_heard_but_nothing_twice() -> None:
    spans = seconds((5, 30), (30.6, 55), (70, 95))
    a, b, c = planned(spans, 120)
    assert a.span == SpeechSpan(4 * SECOND, round(30.3 * SECOND))
    assert 0 <= b.span.start - a.span.end < SAMPLES_PER_POSITION
    assert b.span.end == 55 * SECOND + AROUND_SAMPLES
    assert c.span == SpeechSpan(69 * SECOND, 96 * SECOND)


def test_a_full_window_has_no_room_around_it() -> None:
    first, _ = planned(seconds((5, 34.9), (40, 60)), 120)
    assert LIMIT - SAMPLES_PER_POSITION < first.span.end - first.span.start <= LIMIT


def test_a_long_span_is_cut_in_its_pauses_and_not_in_a_word() -> None:
    spans = seconds((0, 70))
    probs = np.full(-(-70 * SECOND // FRAME_SAMPLES), 0.9, np.float32)
    for at in (20, 27, 45):  # a pause of 0.16 s, of 0.32 s, of 0.32 s
        frame = at * SECOND // FRAME_SAMPLES
        probs[frame : frame + (5 if at == 20 else 10)] = 0.1
    stretches = plan_stretches(spans, SpeechSpan(0, 72 * SECOND), LIMIT, probs)
    cuts = [s.speech.end / SECOND for s in stretches[:-1]]
    assert [round(cut) for cut in cuts] == [27, 45]
    assert all(probs[int(cut * SECOND) // FRAME_SAMPLES] < 0.2 for cut in cuts)


def test_a_window_more_is_cheaper_than_a_cut_in_a_word() -> None:
    bounds = SpeechSpan(0, 62 * SECOND)
    probs = speaking(bounds)
    for at in (16, 38):
        probs[at * SECOND // FRAME_SAMPLES :][:12] = 0.1
    stretches = plan_stretches(seconds((0.5, 59.8)), bounds, LIMIT, probs)
    assert [round(s.speech.end / SECOND) for s in stretches] == [16, 38, 60]


def test_what_no_window_hears_is_known() -> None:
    bounds = SpeechSpan(0, 120 * SECOND)
    stretches = planned(seconds((40, 60)), 120)
    gaps = unheard(stretches, bounds)
    assert gaps == [SpeechSpan(0, 39 * SECOND), SpeechSpan(61 * SECOND, 120 * SECOND)]
    assert unheard((), SpeechSpan(0, 10)) == [SpeechSpan(0, 10)]
    assert unheard(planned(seconds((1.5, 60)), 62), SpeechSpan(0, 62 * SECOND)) == []


def test_four_hours_are_planned_in_one_go() -> None:
    spans = [SpeechSpan(k * 6 * SECOND, k * 6 * SECOND + 5 * SECOND) for k in range(2400)]
    stretches = planned(spans, 4 * 3600)
    assert len(stretches) == 480
