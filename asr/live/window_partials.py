"""Partials by decoding the open turn again while it grows: one stateless window at a time.

Never more than one window of a turn is under way, and none is sent unless a batch has room for it. So when
audio comes faster than it can be decoded, looks at the turn are skipped, and no word is. What is settled is
given to the next look as the beginning of its text: only the words behind it are decoded again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

from asr.audio.levels import FRAME_SAMPLES
from asr.audio.windows import quietest_cut, shortened, window_of
from asr.constants import SAMPLE_RATE
from asr.engine import ModelSpec
from asr.errors import AsrError
from asr.live.agreement import Agreement, fold
from asr.live.listener import OpenTurn
from asr.live.partials import Pace
from asr.request.options import APPEND_PUNCTUATIONS, RequestOptions
from asr.schema import MAX_PREFIX, Hypothesis, SpeechSpan, Window
from asr.sessions.base import Offer
from asr.sessions.echo import is_echo
from asr.sessions.ladder import decoding_options, verdict_on
from asr.sessions.prompting import hotword_tokens, prompt_tokens
from asr.text.tokenizer import tokenizer_for

MIN_SAMPLES = SAMPLE_RATE * 6 // 10  # of a window; of less, Whisper writes anything
LEAD_SAMPLES = SAMPLE_RATE * 3 // 10  # before the speech behind a pause
PAUSE_SAMPLES = 2 * SAMPLE_RATE  # of silence, behind which a new window begins
# a turn longer than a window goes on in another one, from a quiet place between these two
FIRST_CUT, LAST_CUT = 20 * SAMPLE_RATE, 28 * SAMPLE_RATE
QUIET_SAMPLES = SAMPLE_RATE // 10  # behind the speech, before it has ended rather than paused for breath
BUSY = 1.2  # times the seconds of a look must pass before the next one
SMOOTHING = 0.3
SENTENCE_ENDS = tuple(".!?。！？…।؟")


class WindowPartials:
    """One turn's `asr.live.partials.PartialSource`."""

    def __init__(
        self,
        options: RequestOptions,
        spec: ModelSpec,
        pace: Pace,
        has_room: Callable[[], bool],
        clock: Callable[[], float],
        ending_samples: int | None = None,
    ) -> None:
        """ending_samples: of silence, which end the turn; None: it is not known what will."""
        self.error: AsrError | None = None
        self.num_decoded = self.num_skipped = 0
        self._options, self._spec, self._pace, self._has_room, self._clock = (
            options,
            spec,
            pace,
            has_room,
            clock,
        )
        self._ending_samples = ending_samples
        self._tokenizer = tokenizer_for(spec.multilingual, spec.num_languages)
        self._language = options.decoding.language or (None if spec.multilingual else "en")
        self._turn: OpenTurn | None = None
        self._news = asyncio.Event()
        self._is_ended = False
        self._text: list[str] = []  # settled, not taken yet
        self._base = 0  # where the window begins
        self._agreement = self._new_agreement()
        self._prefix: tuple[int, ...] = ()  # the settled text as tokens
        self._words: Sequence[str] = ()  # of the latest hypothesis, behind the text that was settled before
        self._decoded_until = 0
        self._num_quiet = 0  # looks since the speech ended
        self._out: SpeechSpan | None = None
        self._is_closing = False  # whether the window that is out is the last one from its base
        self._sent_at = self._due_at = 0.0
        self._look_s: float | None = None  # how long one takes
        self._was_skipped = False

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
        is_whole = self._turn is not None and span.end - self._turn.speech_end >= QUIET_SAMPLES
        self._num_quiet += is_whole
        self._words = () if isinstance(outcome, AsrError) else self._believed(outcome)
        if self._is_closing:
            self._close(span.end)
        elif self._words:
            self._settled(self._agreement.hear(self._words, is_whole=is_whole, is_sure=is_whole), outcome)

    def _settled(self, text: str, outcome: Hypothesis | AsrError) -> None:
        if text and isinstance(outcome, Hypothesis):
            self._text.append(text)
            self._prefix = tuple(self._tokenizer.encode(self._agreement.text))
            self._language = outcome.language

    def _is_due(self, turn: OpenTurn) -> bool:
        """Whether speech has come that was not heard, or not heard often enough, and it is time."""
        if self._clock() < self._due_at or len(turn.samples) - self._base < MIN_SAMPLES:
            return False
        if len(self._prefix) > MAX_PREFIX:
            return False
        if turn.speech_end > self._decoded_until:
            self._num_quiet = 0
        quiet = len(turn.samples) - turn.speech_end
        if (
            quiet < QUIET_SAMPLES
        ):  # a pause that has just begun is soon long enough to settle the words before it
            return quiet < FRAME_SAMPLES
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

    def _window(self, turn: OpenTurn, span: SpeechSpan) -> Window:
        options = self._options
        prompt = hotword_tokens(options, self._tokenizer) + prompt_tokens(options, self._tokenizer)
        decoding = decoding_options(options, self._language, prompt)
        decoding = replace(decoding, without_timestamps=True, prefix=self._prefix)
        window = window_of(turn.samples, span, decoding)
        return shortened(window) if self._spec.short_windows else window

    def _believed(self, hypothesis: Hypothesis) -> list[str]:
        """The words, unless a guard rejects them."""
        verdict = verdict_on(hypothesis, self._options, self._tokenizer)
        text = self._tokenizer.decode(hypothesis.tokens)
        prompt = " ".join((*self._options.hotwords, self._options.prompt or ""))
        if verdict.rejected or verdict.silent or hypothesis.looped or is_echo(text, prompt):
            return []
        tokens = [token for token in hypothesis.tokens if token < self._tokenizer.eot]
        return _with_marks(self._tokenizer.split_to_word_tokens(tokens, hypothesis.language)[0])

    def _close(self, end: int) -> None:
        """Settles the window and begins the next one where it ends."""
        self._text.append(self._agreement.settle(self._words))
        self._base = end
        self._agreement, self._words, self._prefix = self._new_agreement(), (), ()

    def _pause(self, turn: OpenTurn) -> None:
        """Silence belongs to no window: the next one begins shortly before the next speech."""
        if turn.speech_end > max(self._decoded_until, self._base):
            return  # speech before the pause has not been heard yet
        self._close(max(self._base, len(turn.samples) - LEAD_SAMPLES))

    def _new_agreement(self) -> Agreement:
        return Agreement(self._pace.num_hypotheses, self._pace.hold_back)


def _with_marks(words: Sequence[str]) -> list[str]:
    """The words, each with the punctuation behind it, the first with that before it too."""
    joined: list[str] = []
    for word in words:
        if joined and (word in APPEND_PUNCTUATIONS or not fold(joined[-1])):
            joined[-1] += word
        else:
            joined.append(word)
    return joined
