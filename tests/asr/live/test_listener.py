"""Where turns begin and end, and that no sample of a turn is lost."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.audio.levels import FRAME_SAMPLES
from asr.constants import SAMPLE_RATE, WINDOW_SAMPLES
from asr.live.listener import RETAINED_SAMPLES, TRIM_SAMPLES, Listener, TurnEnded, TurnStarted
from asr.live.turn_detector import TurnRules

FRAME = FRAME_SAMPLES
RULES = TurnRules(prefix_samples=2 * FRAME, silence_samples=4 * FRAME)
Script = list[tuple[float, int]]  # probability, frames


def numbered(first: int, last: int) -> np.ndarray:
    """Samples that tell their own positions."""
    return (np.arange(first, last) % 30_000).astype(np.int16)


def feed(listener: Listener, script: Script) -> list[TurnStarted | TurnEnded]:
    events: list[TurnStarted | TurnEnded] = []
    for prob, count in script:
        for _ in range(count):
            position = listener.position
            events += listener.hear(numbered(position, position + FRAME), np.array([prob], np.float32))
    return events


def test_a_turn_has_its_prefix_and_its_silence() -> None:
    started, ended = feed(Listener(RULES), [(0.0, 10), (0.9, 20), (0.0, 10)])
    assert started == TurnStarted(8 * FRAME)
    assert isinstance(ended, TurnEnded)
    assert (ended.start, ended.end) == (8 * FRAME, 34 * FRAME)
    assert np.array_equal(ended.samples, numbered(ended.start, ended.end))


def test_a_click_and_a_short_pause_change_nothing() -> None:
    assert feed(Listener(RULES), [(0.0, 5), (0.9, 2), (0.0, 20)]) == []
    assert len(feed(Listener(RULES), [(0.9, 5), (0.0, 3), (0.9, 5), (0.0, 3), (0.9, 1)])) == 1


def test_probabilities_between_the_thresholds_neither_open_nor_close() -> None:
    assert feed(Listener(RULES), [(0.45, 50)]) == []
    assert len(feed(Listener(RULES), [(0.9, 5), (0.45, 50)])) == 1


def test_a_finished_sentence_needs_less_silence() -> None:
    rules = TurnRules(silence_samples=100 * FRAME, sentence_silence_samples=4 * FRAME)
    listener = Listener(rules)
    feed(listener, [(0.9, 10), (0.0, 2)])
    listener.end_sentence()
    assert len(feed(listener, [(0.0, 2)])) == 1
    listener = Listener(rules)
    feed(listener, [(0.9, 10), (0.0, 2)])
    listener.end_sentence()
    assert feed(listener, [(0.9, 3), (0.0, 50)]) == []  # the speech went on


def test_without_rules_only_a_commit_ends_a_turn() -> None:
    listener = Listener(None)
    assert feed(listener, [(0.9, 50), (0.0, 50)]) == []
    turn = listener.commit()
    assert (turn.start, turn.end) == (0, 100 * FRAME)
    assert np.array_equal(turn.samples, numbered(0, 100 * FRAME))
    assert listener.start == listener.position


def test_after_a_commit_the_speech_that_goes_on_is_another_turn() -> None:
    listener = Listener(RULES)
    feed(listener, [(0.9, 10)])
    first = listener.commit()
    started, ended = feed(listener, [(0.9, 10), (0.0, 4)])
    assert (first.end, started.start) == (10 * FRAME, 10 * FRAME)
    assert isinstance(ended, TurnEnded) and ended.end == 24 * FRAME


def test_an_open_turn_stays_when_the_rules_go() -> None:
    listener = Listener(RULES)
    feed(listener, [(0.0, 10), (0.9, 10)])
    listener.set_rules(None)
    assert feed(listener, [(0.0, 20)]) == []
    assert listener.commit().start == 8 * FRAME


def test_clear_drops_the_turn() -> None:
    listener = Listener(RULES)
    feed(listener, [(0.9, 10)])
    listener.clear()
    assert listener.start == listener.position and not listener.is_turn_open
    assert feed(listener, [(0.0, 10)]) == []


def test_a_turn_of_minutes_is_cut_at_quiet_places_without_a_seam() -> None:
    rng = np.random.default_rng(1)
    samples = (rng.standard_normal(100 * SAMPLE_RATE) * 3_000).astype(np.int16)
    quiet = [27 * SAMPLE_RATE, 54 * SAMPLE_RATE, 80 * SAMPLE_RATE]
    for place in quiet:
        samples[place : place + 800] = 0
    listener = Listener(TurnRules(prefix_samples=0))
    events: list[TurnStarted | TurnEnded] = []
    for first in range(0, len(samples), FRAME):
        part = samples[first : first + FRAME]
        events += listener.hear(part, np.array([0.9] if len(part) == FRAME else [], np.float32))
    ended = [event for event in events if isinstance(event, TurnEnded)]
    assert [any(0 <= turn.end - place <= 800 for place in quiet) for turn in ended] == [True] * 3
    assert all(turn.end - turn.start <= WINDOW_SAMPLES for turn in ended)
    joined = np.concatenate([*[turn.samples for turn in ended], listener.commit().samples])
    assert np.array_equal(joined, samples)


@pytest.mark.parametrize("prob", [0.0, 0.45])
def test_endless_sound_without_speech_costs_no_memory(prob: float) -> None:
    listener = Listener(RULES)
    second = np.zeros(SAMPLE_RATE // FRAME * FRAME, np.int16)
    probs = np.full(len(second) // FRAME, prob, np.float32)
    for _ in range(600):
        assert listener.hear(second, probs) == []
        assert listener.position - listener.start <= RETAINED_SAMPLES + TRIM_SAMPLES
        assert listener._buffer._array.nbytes <= 8 * (RETAINED_SAMPLES + TRIM_SAMPLES)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([0.0, 0.45, 0.9]), st.integers(1, 40)), max_size=40))
def test_turns_are_in_order_and_hold_all_their_samples(script: Script) -> None:
    listener = Listener(RULES)
    events = feed(listener, script)
    assert [type(event) for event in events] == [
        kind for kind, _ in zip(itertools.cycle([TurnStarted, TurnEnded]), events, strict=False)
    ]
    ended = [event for event in events if isinstance(event, TurnEnded)]
    started = [event for event in events if isinstance(event, TurnStarted)]
    for begin, turn in zip(started, ended, strict=False):
        assert begin.start == turn.start < turn.end
        assert np.array_equal(turn.samples, numbered(turn.start, turn.end))
    assert all(a.end <= b.start for a, b in itertools.pairwise(ended))
