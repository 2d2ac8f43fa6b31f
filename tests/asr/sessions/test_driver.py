"""Sessions driven on one engine."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import numpy as np

from asr.audio.prepare import prepared_from
from asr.errors import AsrError, EngineFailure
from asr.schema import Hypothesis, Window
from asr.sessions import BROKEN, LiveSession, Offer, open_session
from asr.sessions.driver import drive
from tests.asr.asked import asked
from tests.asr.live_audio import LiveAudio
from tests.asr.opened import audio_of
from tests.asr.scripted import SPEC, ScriptedEngine, random_hypothesis


def engine() -> ScriptedEngine:
    return ScriptedEngine(lambda k: random_hypothesis(random.Random(k)))


class Clips:
    """A session of some windows of one length, decoded in any order."""

    def __init__(self, name: str, frames: int, count: int = 1) -> None:
        self.name = name
        self.error: AsrError | None = None
        self.left = count
        self._new = [
            Offer(k, Window(np.zeros(1600, np.int16), frames - 400, encoder_frames=frames))
            for k in range(count)
        ]

    @property
    def done(self) -> bool:
        return self.error is not None or not self.left

    def offers(self) -> list[Offer]:
        new, self._new = self._new, []
        return new

    def accept(self, offer: Offer, outcome: Hypothesis | AsrError) -> None:
        self.left -= 1


def order(sessions: list[Clips], batches: dict[int, int]) -> str:
    """The names of the sessions, one for each window, as their outcomes come; "|" between batches."""

    class Engine(ScriptedEngine):
        def most_together(self, frames: int) -> int:
            return batches[frames]

    seen: list[str] = []
    drive(
        Engine(lambda k: random_hypothesis(random.Random(k))),
        sessions,
        on_progress=lambda i, _: seen.append(sessions[i].name),
        on_batch=lambda batch: seen.append("|"),
    )
    return " ".join(seen[1:])


def test_a_short_clip_is_answered_before_longer_ones_that_came_first() -> None:
    clips = [Clips(f"{k}", 1_500) for k in range(8)] + [Clips("short", 1_000)]
    assert order(clips, {1_000: 8, 1_500: 3}) == "short | 0 1 2 | 3 4 5 | 6 7"


def test_a_batch_has_windows_of_one_length() -> None:
    clips = [Clips("a", 3_000), Clips("b", 1_000), Clips("c", 3_000), Clips("d", 1_000)]
    assert order(clips, {1_000: 8, 3_000: 8}) == "b d | a c"


def test_a_long_file_of_short_windows_does_not_starve_one_of_long_windows() -> None:
    files = [Clips("long", 3_000, 2), Clips("short", 1_000, 9)]
    found = order(files, {1_000: 2, 3_000: 2})
    assert found == "short short | long long | short short | short short | short short | short"


def test_a_clip_does_not_wait_for_a_file_of_its_own_length() -> None:
    files = [Clips("file", 3_000, 4), Clips("clip", 3_000)]
    assert order(files, {3_000: 2}) == "file clip | file file | file"


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


def test_an_outcome_counts_when_it_is_told_and_not_again() -> None:
    class Telling(ScriptedEngine):
        """Has the last window of a batch first."""

        def decode(self, windows: Sequence[Window], on_found: Any = None) -> list[Hypothesis | AsrError]:
            found = super().decode(windows)
            on_found(len(found) - 1, found[-1])
            seen.append(".")
            return found

    seen: list[str] = []
    clips = [Clips("a", 3_000), Clips("b", 3_000), Clips("c", 3_000)]
    drive(
        Telling(lambda k: random_hypothesis(random.Random(k))),
        clips,
        on_progress=lambda i, goes_on: seen.append(clips[i].name + "+" * goes_on),
    )
    assert " ".join(seen) == "c+ . a b"
    assert [clip.left for clip in clips] == [0, 0, 0]
