"""The language of an upload, asked of the model: a session that decodes no text."""

from __future__ import annotations

from asr.constants import WINDOW_SAMPLES
from asr.engine import ModelSpec
from asr.errors import AsrError
from asr.options import RequestOptions
from asr.prepared import PreparedAudio
from asr.schema import DecodingOptions, Hypothesis, Segment, SpeechSpan, Transcript, Window
from asr.sessions import Offer
from asr.sessions.base import Tally
from asr.vad import spans_from_probs
from asr.windows import window_of


def open_language_session(
    prepared: PreparedAudio, options: RequestOptions, spec: ModelSpec
) -> LanguageSession:
    """The session over the 30 s from the first speech on, or from the start where none was found.

    An English-only model is not asked.
    """
    samples = prepared.audio.samples
    window = None
    if spec.multilingual:
        assert prepared.speech_probs is not None
        spans = spans_from_probs(prepared.speech_probs, len(samples), options.vad)
        start = spans[0].start if spans else 0
        span = SpeechSpan(start, min(start + WINDOW_SAMPLES, len(samples)))
        window = window_of(samples, span, DecodingOptions(task="detect_language"))
    return LanguageSession(window, len(samples))


class LanguageSession:
    """One window, and which language the model hears in it; a transcript without text to those who log it."""

    def __init__(self, window: Window | None, num_samples: int) -> None:
        self.error: AsrError | None = None
        self.language = "en"
        self.confidence = 1.0  # probability of `language`, 0..1
        self._window = window
        self._num_samples = num_samples
        self._tally = Tally()
        self.done = window is None

    def offers(self) -> list[Offer]:
        window, self._window = self._window, None
        return [] if window is None else [Offer(0, window)]

    def accept(self, offer: Offer, outcome: Hypothesis | AsrError) -> None:
        self.done = True
        if isinstance(outcome, AsrError):
            self.error = outcome
            return
        self._tally.add(outcome)
        self.language, self.confidence = outcome.language_probs[0]

    def take_segments(self) -> tuple[Segment, ...]:
        return ()

    def transcript(self) -> Transcript:
        stats = self._tally.stats()
        return Transcript("", (), self.language, "transcribe", self._num_samples, stats)
