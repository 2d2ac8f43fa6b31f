"""Looks at an open turn: one at a time, when they are due, if a batch has room."""

from __future__ import annotations

import numpy as np
import pytest

from asr.constants import SAMPLE_RATE
from asr.errors import EngineFailure
from asr.live.listener import OpenTurn
from asr.live.partials import PACES, Pace
from asr.live.turn_looks import FIRST_CUT, LAST_CUT, Timing
from asr.live.window_partials import MIN_SAMPLES, WindowPartials
from asr.request.options import RequestOptions
from asr.schema import Hypothesis
from asr.sessions import LiveSession, Offer
from tests.gateway.fake_hypotheses import SPEC, TOKENIZER

S = SAMPLE_RATE


class Rig:
    """A source, its clock, and a model that hears the words of a script, one each second."""

    def __init__(
        self, script: str, pace: Pace | None = PACES["low"], ending_samples: int | None = None
    ) -> None:
        assert pace is not None
        self.now = 0.0
        self.room = True
        self.words = script.split()
        timing = Timing(lambda: self.room, lambda: self.now, ending_samples)
        self.source = WindowPartials(RequestOptions(), SPEC, pace, timing)
        self.text = ""
        self.offers: list[tuple[float, int]] = []  # time, samples of each window

    def at(self, seconds: float, *, speech_s: float | None = None) -> Offer | None:
        """The turn lasts `seconds` now, of which speech the first `speech_s`; the look, if one is due."""
        self.now = seconds
        samples = np.zeros(round(seconds * S), np.int16)
        samples[::7] = 1_000
        spoken = seconds if speech_s is None else speech_s
        self.source.feed(OpenTurn(samples, round(spoken * S)))
        offers = self.source.offers()
        assert len(offers) <= 1
        return offers[0] if offers else None

    def hear(
        self,
        offer: Offer,
        first_s: float,
        last_s: float,
        avg_logprob: float = -0.2,
        no_speech_prob: float = 0.0,
    ) -> str:
        """The model's hypothesis for an offer, behind what the offer says is settled; the text it settles."""
        num_settled = len(TOKENIZER.decode(offer.window.options.prefix).split())
        spoken = "".join(f" {word}" for word in self.words[round(first_s) + num_settled : round(last_s)])
        tokens = tuple(TOKENIZER.encode(spoken)) if spoken else ()
        self.source.accept(offer, Hypothesis(tokens, avg_logprob, no_speech_prob, 0.0, "en"))
        return self.source.take_text()


def test_it_is_a_live_session() -> None:
    assert isinstance(Rig("").source, LiveSession)


def test_one_window_at_a_time_and_no_sooner_than_the_pace() -> None:
    rig = Rig("one two three four five six")
    assert rig.at(MIN_SAMPLES / S - 0.1) is None
    first = rig.at(2.0)
    assert first is not None
    assert rig.at(2.1) is None and rig.at(2.2) is None  # it is under way
    assert rig.hear(first, 0, 2) == ""
    assert rig.at(2.4) is None, "half a second has not passed"
    second = rig.at(4.0)
    assert second is not None and len(second.window.samples) <= 4 * S + 200
    rig.now = 4.2
    assert rig.hear(second, 0, 4) == " one"
    assert rig.at(4.4) is None
    assert rig.at(4.6) is not None


def test_a_slow_decoder_is_asked_less_often() -> None:
    rig = Rig("one two three four five six seven eight nine ten eleven twelve")
    offer = rig.at(2.0)
    assert offer is not None
    rig.now = 5.0
    rig.hear(offer, 0, 2)
    assert rig.at(5.5) is None
    assert rig.at(2.0 + 1.2 * 3.0 + 0.1) is not None


def test_looks_are_skipped_while_no_batch_has_room_and_no_word_is_lost() -> None:
    rig = Rig("one two three four five six seven eight")
    rig.room = False
    assert all(rig.at(seconds) is None for seconds in (1.0, 1.05, 1.1))
    assert rig.source.num_skipped == 1, "one look, however often it was tried"
    rig.room = True
    offer = rig.at(4.0)
    assert offer is not None
    rig.hear(offer, 0, 4)
    offer = rig.at(5.0)
    assert offer is not None and rig.hear(offer, 0, 5) == " one two three"


def test_behind_the_speech_one_look_settles_all() -> None:
    rig = Rig("one two three")
    text = ""
    looks_behind = 0
    for tenth in range(20, 60):
        offer = rig.at(tenth / 10, speech_s=min(tenth / 10, 3.0))
        if offer is not None:
            looks_behind += tenth > 30
            text += rig.hear(offer, 0, min(tenth / 10, 3.0))
    assert text == " one two three"
    assert looks_behind == 1


def test_speech_that_goes_on_while_it_is_looked_at_takes_a_second_look() -> None:
    rig = Rig("one two three four")
    offer = rig.at(2.2, speech_s=2.0)
    assert offer is not None
    assert rig.at(3.0) is None, "it is under way"
    assert rig.hear(offer, 0, 2) == ""
    offer = rig.at(3.3)
    assert offer is not None and rig.hear(offer, 0, 3) == " one"


def test_no_look_holds_up_the_end_of_its_turn() -> None:
    rig = Rig("one two three four", ending_samples=S // 2)
    offer = rig.at(2.0)
    assert offer is not None
    rig.now = 2.3
    rig.hear(offer, 0, 2)
    assert rig.at(3.5, speech_s=3.2) is None, "the turn would end before the answer"
    assert rig.at(3.4, speech_s=3.25) is not None


def test_what_is_settled_is_not_decoded_again() -> None:
    rig = Rig("one two three four five")
    for seconds in (2.0, 3.0):
        offer = rig.at(seconds)
        assert offer is not None and offer.window.options.prefix == ()
        rig.hear(offer, 0, seconds)
    offer = rig.at(4.0)
    assert offer is not None
    assert TOKENIZER.decode(offer.window.options.prefix) == " one" and offer.window.options.without_timestamps


def test_silence_before_any_speech_is_not_decoded() -> None:
    rig = Rig("one two")
    assert all(rig.at(tenth / 10, speech_s=0.0) is None for tenth in range(100))
    offer = rig.at(10.9, speech_s=10.9)
    assert offer is not None and len(offer.window.samples) < 2.5 * S


@pytest.mark.parametrize(
    "facts", [{"avg_logprob": -2.0}, {"no_speech_prob": 0.9, "avg_logprob": -1.5}], ids=["rejected", "silent"]
)
def test_what_the_guards_refuse_settles_nothing(facts: dict[str, float]) -> None:
    rig = Rig("one two three four five")
    for seconds in (2.0, 3.0, 4.0):
        offer = rig.at(seconds)
        assert offer is not None and rig.hear(offer, 0, seconds, **facts) == ""
    assert not rig.source.is_sentence_over


def test_a_failed_window_ends_nothing() -> None:
    rig = Rig("one two three four")
    offer = rig.at(2.0)
    assert offer is not None
    rig.source.accept(offer, EngineFailure("broken"))
    assert rig.source.error is None and not rig.source.done
    assert rig.at(3.0) is not None


def test_a_turn_longer_than_a_window_goes_on_in_another() -> None:
    rig = Rig(" ".join(f"w{i}" for i in range(90)))
    text, base = "", 0.0
    for second in range(2, 80):
        offer = rig.at(float(second))
        if offer is None:
            continue
        length = len(offer.window.samples) / S
        assert length <= 30.1
        is_last = second - base > LAST_CUT / S
        end = base + length if is_last else float(second)
        text += rig.hear(offer, base, end)
        if is_last:
            assert FIRST_CUT / S <= length <= LAST_CUT / S + 0.1
            base = end
    assert base > 40
    settled = text.split()
    assert settled == rig.words[: len(settled)] and len(settled) >= 70


def test_the_end_of_a_sentence_is_that_of_all_the_speech() -> None:
    rig = Rig("one two. three")
    offer = rig.at(2.0)
    assert offer is not None
    rig.hear(offer, 0, 2)
    assert rig.source.is_sentence_over
    rig.at(2.1)
    assert not rig.source.is_sentence_over, "more speech has come"


def test_it_is_done_once_its_turn_has_ended() -> None:
    rig = Rig("one two")
    offer = rig.at(2.0)
    assert offer is not None
    rig.source.end()
    assert not rig.source.done
    rig.hear(offer, 0, 2)
    assert rig.source.done and rig.source.offers() == []


def test_a_long_pause_repeats_nothing() -> None:
    rig = Rig("one two three")
    first = rig.at(3.0)
    assert first is not None
    assert rig.hear(first, 0, 3) == ""
    quiet = rig.at(3.6, speech_s=3.0)
    assert quiet is not None
    assert rig.hear(quiet, 0, 3) == " one two three"
    rig.at(6.0, speech_s=3.0)
    assert rig.source.take_text() == ""
