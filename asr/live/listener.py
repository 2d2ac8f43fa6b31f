"""A stream's samples → its turns: what was said between two silences, or between two commits.

    for event in listener.hear(samples, probs): …
    turn = listener.commit()

With rules, the listener finds the turns itself; a commit ends one early. Without rules, a commit alone does.
"""

from __future__ import annotations

from dataclasses import dataclass

from asr.audio.levels import FRAME_SAMPLES
from asr.audio.vad import Probs
from asr.audio.windows import CUT_SEARCH_SECONDS, quietest_cut
from asr.constants import SAMPLE_RATE, WINDOW_SAMPLES
from asr.live.sample_buffer import SampleBuffer
from asr.live.turn_detector import Change, TurnDetector, TurnRules
from asr.schema import Samples

RETAINED_SAMPLES = 30 * SAMPLE_RATE  # without speech, for a prefix or a commit; a window of it
TRIM_SAMPLES = 2 * SAMPLE_RATE  # are dropped at once


@dataclass(frozen=True, slots=True)
class TurnStarted:
    start: int  # samples since the stream began


@dataclass(frozen=True, slots=True)
class TurnEnded:
    start: int
    end: int
    samples: Samples  # of its own: the stream goes on without them


@dataclass(frozen=True, slots=True)
class OpenTurn:
    """What an uncommitted turn holds so far; positions are relative to its start."""

    samples: Samples
    speech_end: int  # end of its latest frame of speech; 0 or less: none


class Listener:
    """One stream's ear. It holds an open turn, which its owner bounds, or `RETAINED_SAMPLES` of no speech."""

    def __init__(self, rules: TurnRules | None) -> None:
        self._rules = rules
        self._buffer = SampleBuffer()
        self._heard = 0  # samples whose frames have been judged
        self._detector = TurnDetector(rules or TurnRules())
        self._turn_start: int | None = None  # of the turn that the rules have opened

    @property
    def position(self) -> int:
        """Samples so far."""
        return self._buffer.end

    @property
    def start(self) -> int:
        """Where the audio that a commit would take begins."""
        return self._buffer.start if self._turn_start is None else self._turn_start

    @property
    def is_turn_open(self) -> bool:
        """Whether the rules have opened a turn."""
        return self._turn_start is not None

    @property
    def open_turn(self) -> OpenTurn:
        """What a commit would take now, not copied."""
        samples = self._buffer.between(self.start, self._buffer.end)
        return OpenTurn(samples, (self._detector.speech_end or 0) - self.start)

    def set_rules(self, rules: TurnRules | None) -> None:
        """Other rules from now on. An open turn stays open; without rules a commit ends it."""
        if (rules is None) != (self._rules is None):
            self._buffer.drop_before(self.start)
            self._turn_start = None
            self._forget_speech()
        self._rules = rules
        self._detector.rules = rules or TurnRules()

    def end_sentence(self) -> None:
        """Says that the words so far end a sentence."""
        self._detector.is_sentence_over = True

    def hear(self, samples: Samples, probs: Probs) -> list[TurnStarted | TurnEnded]:
        """The turns that begin and end with these samples and the frames that they complete."""
        self._buffer.append(samples)
        events: list[TurnStarted | TurnEnded] = []
        for prob in probs.tolist():
            self._heard += FRAME_SAMPLES
            change = self._detector.hear(prob, self._heard)
            if self._rules is not None:
                events += self._turned(self._rules, change)
        self._trim()
        return events

    def commit(self) -> TurnEnded:
        """Ends the turn here, whether the rules have opened it or not."""
        turn = self._cut(self._buffer.end)
        self._turn_start = None
        self._forget_speech()
        return turn

    def clear(self) -> None:
        """Drops all audio that is not committed."""
        self._buffer.drop_before(self._buffer.end)
        self._turn_start = None
        self._forget_speech()

    def _turned(self, rules: TurnRules, change: Change | None) -> list[TurnStarted | TurnEnded]:
        if change is Change.STARTED and self._turn_start is None:
            self._turn_start = max(self._buffer.start, self._detector.onset - rules.prefix_samples)
            return [TurnStarted(self._turn_start)]
        if self._turn_start is None:
            return []
        if change is Change.ENDED:
            turn = self._cut(self._heard)
            self._turn_start = None
            return [turn]
        if self._heard - self._turn_start < WINDOW_SAMPLES:
            return []
        turn = self._cut(self._quiet_place(self._turn_start))
        self._turn_start = turn.end
        return [turn, TurnStarted(turn.end)]

    def _quiet_place(self, start: int) -> int:
        """Where a turn that fills a window is cut: no sample is lost between the two parts."""
        last = WINDOW_SAMPLES
        samples = self._buffer.between(start, start + last)
        return start + quietest_cut(samples, last - CUT_SEARCH_SECONDS * SAMPLE_RATE, last)

    def _cut(self, end: int) -> TurnEnded:
        turn = TurnEnded(self.start, end, self._buffer.between(self.start, end).copy())
        self._buffer.drop_before(end)
        return turn

    def _forget_speech(self) -> None:
        """The speech before this moment opens no turn behind it."""
        self._detector = TurnDetector(self._detector.rules)

    def _trim(self) -> None:
        if self._rules is None or self._turn_start is not None:
            return
        if self._buffer.end - self._buffer.start > RETAINED_SAMPLES + TRIM_SAMPLES:
            self._buffer.drop_before(self._buffer.end - RETAINED_SAMPLES)
