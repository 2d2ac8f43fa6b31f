"""The words of an open turn by families beside Whisper, those that hear streams and those that do not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from asr.constants import SAMPLE_RATE
from asr.engine import ModelSpec
from asr.live.listener import OpenTurn
from asr.live.partials import PACES
from asr.live.plain_partials import PlainPartials
from asr.live.turn_looks import Timing
from asr.request.options import RequestOptions
from asr.schema import Hypothesis, Piece, Window
from tests.asr.piece_hypotheses import CTC, STREAMING, of_pieces, spoken

NOISE = np.random.default_rng(0).integers(-2000, 2000, 60 * SAMPLE_RATE).astype(np.int16)


class Turn:
    """A turn that grows, and the clock of its partials."""

    def __init__(self, spec: ModelSpec) -> None:
        pace = PACES["low"]
        assert pace is not None
        self.now = 0.0
        self.text = ""
        self.windows: list[Window] = []
        timing = Timing(has_room=lambda: True, clock=lambda: self.now)
        self.source = PlainPartials(RequestOptions(), spec, pace, timing)

    def at(self, seconds: float, speech_end: float | None = None) -> str:
        """The text settled once the turn is so long, and its speech, unless it has ended."""
        self.now = seconds
        num_samples = round(seconds * SAMPLE_RATE)
        speech = num_samples if speech_end is None else round(speech_end * SAMPLE_RATE)
        self.source.feed(OpenTurn(NOISE[:num_samples], speech))
        for offer in self.source.offers():
            self.windows.append(offer.window)
            self.source.accept(offer, self.answer(offer.window))
        self.text += self.source.take_text()
        return self.text

    def answer(self, window: Window) -> Hypothesis:
        return spoken(window)


def test_a_stream_settles_every_word_but_the_last_at_once() -> None:
    turn = Turn(STREAMING)
    assert turn.at(1.0) == " ek do"
    assert turn.at(1.1) == " ek do", "it is not time yet"
    assert turn.at(2.0) == " ek do tin char panch"
    assert all(window.options.is_open for window in turn.windows)


def test_silence_settles_the_last_word() -> None:
    turn = Turn(STREAMING)
    turn.at(1.0)
    for hundredth in range(125, 260, 25):  # looks go on within the pause, because the encoder lags behind
        turn.at(hundredth / 100, speech_end=1.0)
    assert turn.text.split()[:3] == ["ek", "do", "tin"]
    assert turn.windows[-1].num_frames >= 200


@pytest.mark.parametrize("spec", [CTC, STREAMING])
def test_a_long_pause_repeats_nothing(spec: ModelSpec) -> None:
    turn = Turn(spec)
    turn.answer = lambda window: of_pieces(  # type: ignore[method-assign]
        [piece for piece in spoken(window).pieces if (piece.start_ms or 0) < 1_000]
    )
    for tenth in range(1, 61):
        turn.at(tenth / 10, speech_end=min(tenth / 10, 1.0))
    assert turn.text == " ek do tin"


def test_a_window_of_a_stream_begins_where_the_one_before_it_began() -> None:
    turn = Turn(STREAMING)
    for half in range(1, 21):
        turn.at(half / 2)
    assert all(
        np.array_equal(longer.samples[: len(shorter.samples) - 400], shorter.samples[:-400])
        for shorter, longer in zip(turn.windows, turn.windows[1:], strict=False)
    )


def test_a_model_that_hears_windows_settles_what_two_looks_say() -> None:
    turn = Turn(CTC)
    assert turn.at(1.0) == ""
    assert turn.at(2.0) == " ek do"
    assert turn.at(3.0) == " ek do tin char panch"
    assert not any(window.options.is_open for window in turn.windows)


def test_a_beam_that_may_change_its_mind_is_asked_twice() -> None:
    turn = Turn(replace(STREAMING, search_paths=4))
    assert turn.at(1.0) == ""
    assert turn.at(2.0) == " ek do"


def test_a_turn_longer_than_a_window_goes_on_in_another_one() -> None:
    turn = Turn(STREAMING)
    for second in range(1, 60):
        turn.at(float(second))
    assert len(turn.text.split()) >= 150, "some 170 words were said"
    assert max(window.num_frames for window in turn.windows) <= 2_800 + 100


def test_the_models_own_rules_end_a_turn() -> None:
    turn = Turn(STREAMING)
    turn.at(1.0)
    assert not turn.source.is_turn_over
    turn.answer = lambda window: of_pieces([Piece(" ek", 0)], is_endpoint=True)  # type: ignore[method-assign]
    turn.at(2.0)
    assert turn.source.is_turn_over


@pytest.mark.parametrize("spec", [CTC, STREAMING])
def test_nothing_settled_is_taken_back(spec: ModelSpec) -> None:
    turn, before = Turn(spec), ""
    for tenth in range(5, 100, 3):
        text = turn.at(tenth / 10)
        assert text.startswith(before)
        before = text
