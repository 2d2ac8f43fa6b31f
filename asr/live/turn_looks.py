"""Looks at an open turn while it grows: one stateless window at a time, when it is time for one.

Never more than one window of a turn is under way, and none is sent unless a batch has room for it. So when
audio comes faster than it can be decoded, looks at the turn are skipped, and no word is. What a window asks
for and what its words are is the business of the subclasses.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from asr.audio.levels import FRAME_SAMPLES
from asr.audio.windows import quietest_cut
from asr.constants import SAMPLE_RATE
from asr.errors import AsrError
from asr.live.agreement import Agreement
from asr.live.listener import OpenTurn
from asr.live.partials import Pace
from asr.schema import Hypothesis, SpeechSpan, Window
from asr.sessions.base import Offer

LEAD_SAMPLES = SAMPLE_RATE * 3 // 10  # before the speech behind a pause
PAUSE_SAMPLES = 2 * SAMPLE_RATE  # of silence, behind which a new window begins
# a turn longer than a window goes on in another one, from a quiet place between these two
FIRST_CUT, LAST_CUT = 20 * SAMPLE_RATE, 28 * SAMPLE_RATE
BUSY = 1.2  # times the seconds of a look must pass before the next one
SMOOTHING = 0.3
SENTENCE_ENDS = tuple(".!?。！？…।؟")


@dataclass(frozen=True, slots=True)
class Patience:
    """What a model must have heard."""

    min_samples: int  # of a window
    quiet_samples: int  # behind the speech, before it has ended rather than paused for breath
    hears_silence: bool = False  # whether looks go on until then


@dataclass(frozen=True, slots=True)
class Timing:
    """When a look may be sent, beside the pace."""

    has_room: Callable[[], bool]  # whether a batch has room for it
    clock: Callable[[], float]
    ending_samples: int | None = None  # of silence, which end the turn; None: it is not known what will


class TurnLooks(ABC):
    """What the sources of partials share. A subclass is one turn's `asr.live.partials.PartialSource`."""

    def __init__(self, pace: Pace, patience: Patience, timing: Timing) -> None:
        self.error: AsrError | None = None
        self.num_decoded = self.num_skipped = 0
        self.is_turn_over = False
        self._pace, self._patience = pace, patience
        self._has_room, self._clock = timing.has_room, timing.clock
        self._ending_samples = timing.ending_samples
        self._turn: OpenTurn | None = None
        self._news = asyncio.Event()
        self._is_ended = False
        self._text: list[str] = []  # settled, not taken yet
        self._base = 0  # where the window begins
        self._agreement = self._new_agreement()
        self._words: Sequence[str] = ()  # of the latest hypothesis, behind the text that was settled before
        self._num_before = 0  # words that were settled then
        self._decoded_until = 0
        self._num_quiet = 0  # looks since the speech ended
        self._out: SpeechSpan | None = None
        self._is_closing = False  # whether the window that is out is the last one from its base
        self._sent_at = self._due_at = 0.0
        self._look_s: float | None = None  # how long one takes
        self._was_skipped = False

    @abstractmethod
    def _window(self, turn: OpenTurn, span: SpeechSpan) -> Window:
        """The window of a look at this part of the turn."""

    @abstractmethod
    def _words_of(self, hypothesis: Hypothesis) -> Sequence[str]:
        """Its words behind the settled ones, unless a guard rejects them."""

    def _has_settled(self, outcome: Hypothesis) -> None:
        """More words are settled, by this outcome."""
        return

    def _begins_anew(self) -> None:
        """The next window begins where this one ends."""
        return

    def _may_look(self) -> bool:
        """Whether a window can hold what is settled."""
        return True

    @property
    def done(self) -> bool:
        return self.error is not None or (self._is_ended and self._out is None)

    @property
    def is_sentence_over(self) -> bool:
        turn = self._turn
        is_heard = turn is not None and self._out is None and self._decoded_until >= turn.speech_end
        return is_heard and "".join(self._words).rstrip().endswith(SENTENCE_ENDS)

    async def fed(self) -> bool:
        await self._news.wait()
        self._news.clear()
        return not self._is_ended

    def feed(self, turn: OpenTurn) -> None:
        self._turn = turn
        if self._out is None and len(turn.samples) - max(turn.speech_end, self._base) >= PAUSE_SAMPLES:
            self._pause(turn)
        self._news.set()

    def end(self) -> None:
        self._is_ended = True
        self._news.set()

    def take_text(self) -> str:
        text = "".join(self._text)
        self._text.clear()
        return text

    def offers(self) -> list[Offer]:
        turn = self._turn
        if turn is None or self._is_ended or self._out is not None or not self._is_due(turn):
            return []
        if not self._has_room():
            self.num_skipped += not self._was_skipped
            self._was_skipped = True
            return []
        self._was_skipped = False
        self._out = self._span(turn)
        self._sent_at = self._clock()
        return [Offer(self.num_decoded, self._window(turn, self._out))]

    def accept(self, offer: Offer, outcome: Hypothesis | AsrError) -> None:
        span, self._out = self._out, None
        assert span is not None
        took_s = self._clock() - self._sent_at
        before_s = took_s if self._look_s is None else self._look_s
        self._look_s = before_s + SMOOTHING * (took_s - before_s)
        self._due_at = self._sent_at + max(self._pace.interval_s, BUSY * took_s)
        self._decoded_until = span.end
        self.num_decoded += 1
        # the window ends in silence: it holds all of the speech so far
        turn = self._turn
        is_whole = turn is not None and span.end - turn.speech_end >= self._patience.quiet_samples
        self._num_quiet += is_whole
        self._words = () if isinstance(outcome, AsrError) else self._words_of(outcome)
        self._num_before = self._agreement.num_settled
        if isinstance(outcome, Hypothesis):
            self.is_turn_over = outcome.is_endpoint
        if self._is_closing:
            self._close(span.end)
        elif self._words:
            self._settled(self._agreement.hear(self._words, is_whole=is_whole, is_sure=is_whole), outcome)

    def _settled(self, text: str, outcome: Hypothesis | AsrError) -> None:
        if text and isinstance(outcome, Hypothesis):
            self._text.append(text)
            self._has_settled(outcome)

    def _is_due(self, turn: OpenTurn) -> bool:
        """Whether speech has come that was not heard, or not heard often enough, and it is time."""
        if self._clock() < self._due_at or len(turn.samples) - self._base < self._patience.min_samples:
            return False
        if not self._may_look():
            return False
        if turn.speech_end > self._decoded_until:
            self._num_quiet = 0
        quiet = len(turn.samples) - turn.speech_end
        if quiet < self._patience.quiet_samples:
            # a pause that has just begun is soon long enough to settle the words before it
            return quiet < FRAME_SAMPLES or self._patience.hears_silence
        is_heard = self._num_quiet >= max(1, self._pace.num_hypotheses - 1)
        return turn.speech_end > self._base and not is_heard and not self._ends_first(quiet)

    def _ends_first(self, quiet: int) -> bool:
        """Whether the turn will end before a look's answer, which would only hold up the final window."""
        if self._ending_samples is None or self._look_s is None:
            return False
        return quiet + self._look_s * SAMPLE_RATE > self._ending_samples

    def _span(self, turn: OpenTurn) -> SpeechSpan:
        """The part of the turn that the next window hears."""
        end = len(turn.samples)
        self._is_closing = end - self._base > LAST_CUT
        if self._is_closing:
            end = quietest_cut(turn.samples, self._base + FIRST_CUT, self._base + LAST_CUT)
        return SpeechSpan(self._base, end)

    def _close(self, end: int) -> None:
        """Settles the window and begins the next one where it ends."""
        num_settled = self._agreement.num_settled - self._num_before  # of the words, by the hypothesis itself
        self._text.append(self._agreement.settle(self._words[num_settled:]))
        self._base = end
        self._agreement, self._words, self._num_before = self._new_agreement(), (), 0
        self._begins_anew()

    def _pause(self, turn: OpenTurn) -> None:
        """Silence belongs to no window: the next one begins shortly before the next speech."""
        if turn.speech_end > max(self._decoded_until, self._base):
            return  # speech before the pause has not been heard yet
        self._close(max(self._base, len(turn.samples) - LEAD_SAMPLES))

    def _new_agreement(self) -> Agreement:
        return Agreement(self._pace.num_hypotheses, self._pace.hold_back)
