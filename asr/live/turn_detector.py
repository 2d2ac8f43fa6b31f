"""Where speech begins and ends, frame by frame: the rules alone, without audio."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from asr.audio.levels import FRAME_SAMPLES
from asr.audio.vad import HYSTERESIS, MIN_NEG_THRESHOLD
from asr.constants import SAMPLE_RATE

ONSET_FRAMES = 3  # of speech in a row, 96 ms: a click or a cough opens no turn


@dataclass(frozen=True, slots=True)
class TurnRules:
    """When a turn begins and ends."""

    threshold: float = 0.5  # speech probability above which a frame is speech
    prefix_samples: int = 300 * SAMPLE_RATE // 1000  # before the first speech, part of the turn
    silence_samples: int = 500 * SAMPLE_RATE // 1000  # that ends the turn
    # that ends the turn behind a finished sentence; None: as elsewhere
    sentence_silence_samples: int | None = None


class Change(Enum):
    STARTED = "started"
    ENDED = "ended"


class TurnDetector:
    """Speech by hysteresis, as `asr.audio.vad` finds it in files. Positions are samples of the stream."""

    def __init__(self, rules: TurnRules) -> None:
        self.rules = rules
        self.is_speaking = False
        self.onset = 0  # where the latest speech began
        self.speech_end: int | None = None  # end of the latest frame of speech; None before any
        self.is_sentence_over = False  # said from outside, of the text of the speech so far
        self._run = 0  # frames of speech in a row, before the onset is sure
        self._silence: int | None = None  # start of the pause; None within speech

    def hear(self, prob: float, end: int) -> Change | None:
        """What the frame that ends at `end` changes."""
        start = end - FRAME_SAMPLES
        is_above = prob >= self.rules.threshold
        is_below = prob < max(self.rules.threshold - HYSTERESIS, MIN_NEG_THRESHOLD)
        if not self.is_speaking:
            return self._before_speech(start, end, is_speech=is_above or (self._run > 0 and not is_below))
        if is_above:
            self.speech_end, self._silence = end, None
            self.is_sentence_over = False
        elif is_below and self._silence is None:
            self._silence = start
        if self._silence is not None and end - self._silence >= self._silence_needed():
            self.is_speaking, self._run, self._silence = False, 0, None
            return Change.ENDED
        return None

    def _before_speech(self, start: int, end: int, *, is_speech: bool) -> Change | None:
        self._run = self._run + 1 if is_speech else 0
        if self._run == 1:
            self.onset = start
        if self._run < ONSET_FRAMES:
            return None
        self.is_speaking, self.is_sentence_over = True, False
        self.speech_end = end
        return Change.STARTED

    def _silence_needed(self) -> int:
        least = self.rules.sentence_silence_samples
        return least if least is not None and self.is_sentence_over else self.rules.silence_samples
