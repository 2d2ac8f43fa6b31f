"""Sessions driven on one engine."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from asr.audio.prepare import prepared_from
from asr.errors import EngineFailure
from asr.sessions import BROKEN, LiveSession, Offer, open_session
from asr.sessions.driver import drive
from tests.asr.asked import asked
from tests.asr.live_audio import LiveAudio
from tests.asr.opened import audio_of
from tests.asr.scripted import SPEC, ScriptedEngine, random_hypothesis


def engine() -> ScriptedEngine:
    return ScriptedEngine(lambda k: random_hypothesis(random.Random(k)))


def test_a_live_session_is_driven_again_whenever_it_has_been_fed() -> None:
    session, model = LiveAudio(), engine()
    assert isinstance(session, LiveSession)
    drive(model, [session])
    assert (session.done, model.asked) == (False, [])
    for number in (1, 2):
        session.feed(np.full(1600, number, np.int16))
        drive(model, [session])
        assert (session.done, len(session.hypotheses)) == (False, number)
    session.end()
    assert session.done
    assert [int(window.samples[0]) for window in model.windows] == [1, 2]


def test_a_session_that_breaks_fails_alone() -> None:
    class Broken(LiveAudio):
        def offers(self) -> list[Offer]:
            raise RuntimeError("a bug")

    broken, sound = Broken(), LiveAudio()
    sound.feed(np.ones(1600, np.int16))
    drive(engine(), [broken, sound])
    assert isinstance(broken.error, EngineFailure)
    assert broken.error.message == BROKEN
    assert len(sound.hypotheses) == 1


def test_a_session_of_a_file_is_no_live_one() -> None:
    audio = audio_of(np.zeros(16_000, np.int16))
    options = asked(language="en", vad_filter=False)
    session = open_session(prepared_from(audio, options), options, SPEC)
    assert not isinstance(session, LiveSession)


def test_a_model_of_another_family_has_no_session() -> None:
    audio = audio_of(np.zeros(16_000, np.int16))
    with pytest.raises(EngineFailure, match="family 'conformer'"):
        open_session(prepared_from(audio, asked()), asked(), replace(SPEC, family="conformer"))
