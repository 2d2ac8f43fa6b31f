"""A session that finds the language of an utterance and decodes no text."""

from __future__ import annotations

from collections.abc import Sequence

from asr.audio.stretches import Stretch
from asr.audio.windows import window_with_silence
from asr.constants import WINDOW_SAMPLES
from asr.errors import AsrError
from asr.request.options import RequestOptions
from asr.schema import Hypothesis, Samples, Segment, SpeechSpan, Transcript, Window
from asr.sessions.base import Offer, Tally
from asr.sessions.ladder import Climb
from asr.sessions.language import LanguageHearing
from asr.sessions.work import Work
from asr.text.tokenizer import Tokenizer


class DetectionSession:
    """Hears about 30 s of speech; `language` and `confidence` (0..1) are the result."""

    def __init__(
        self,
        samples: Samples,
        spans: Sequence[SpeechSpan],
        stretches: Sequence[Stretch],
        options: RequestOptions,
        tokenizer: Tokenizer,
    ) -> None:
        self.error: AsrError | None = None
        self.language = "en"
        self.confidence = 1.0
        self.done = not tokenizer.multilingual  # an English-only model knows its language
        self._samples = samples
        self._options = options
        self._tokenizer = tokenizer
        self._tally = Tally()
        start = SpeechSpan(0, min(len(samples), WINDOW_SAMPLES))
        windows = [stretch.span for stretch in stretches] or [start]
        works = [Work(Stretch(span, span), Climb(self._window(span))) for span in windows]
        self._hearing = LanguageHearing(works, spans)
        self._offered = 0

    def offers(self) -> list[Offer]:
        first, self._offered = self._offered, len(self._hearing.works)
        works = self._hearing.works[first:]
        return [Offer(first + index, work.climb.window) for index, work in enumerate(works)]

    def accept(self, offer: Offer, outcome: Hypothesis | AsrError) -> None:
        if isinstance(outcome, AsrError):
            self.error = outcome
            self.done = True
            return
        self._tally.add(outcome)
        self._hearing.hear(self._hearing.works[offer.key], outcome, self._options, self._tokenizer)
        if (found := self._hearing.decision(self._window)) is not None:
            self.language, self.confidence = found
            self.done = True

    def take_segments(self) -> tuple[Segment, ...]:
        return ()

    def transcript(self) -> Transcript:
        """Without text; its stats are for the log."""
        return Transcript("", (), self.language, "transcribe", len(self._samples), self._tally.stats())

    def _window(self, span: SpeechSpan) -> Window:
        return window_with_silence(self._samples, span, LanguageHearing.detection(self._options))
