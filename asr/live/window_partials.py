"""Whisper's partials, by decoding the open turn again while it grows.

What is settled is given to the next look as the beginning of its text: only the words behind it are decoded
again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from asr.audio.windows import shortened, window_of
from asr.constants import SAMPLE_RATE
from asr.engine import ModelSpec
from asr.live.agreement import fold
from asr.live.listener import OpenTurn
from asr.live.partials import Pace
from asr.live.turn_looks import Patience, Timing, TurnLooks
from asr.request.options import APPEND_PUNCTUATIONS, RequestOptions
from asr.schema import MAX_PREFIX, Hypothesis, SpeechSpan, Window
from asr.sessions.echo import is_echo
from asr.sessions.ladder import decoding_options, verdict_on
from asr.sessions.prompting import hotword_tokens, prompt_tokens
from asr.text.tokenizer import tokenizer_for

MIN_SAMPLES = SAMPLE_RATE * 6 // 10  # of less, Whisper writes anything
QUIET_SAMPLES = SAMPLE_RATE // 10


class WindowPartials(TurnLooks):
    """One turn's `asr.live.partials.PartialSource`."""

    def __init__(self, options: RequestOptions, spec: ModelSpec, pace: Pace, timing: Timing) -> None:
        super().__init__(pace, Patience(MIN_SAMPLES, QUIET_SAMPLES), timing)
        self._options, self._spec = options, spec
        self._tokenizer = tokenizer_for(spec.multilingual, spec.num_languages)
        self._language = options.decoding.language or (None if spec.multilingual else "en")
        self._prefix: tuple[int, ...] = ()  # the settled text as tokens

    def _window(self, turn: OpenTurn, span: SpeechSpan) -> Window:
        options = self._options
        prompt = hotword_tokens(options, self._tokenizer) + prompt_tokens(options, self._tokenizer)
        decoding = decoding_options(options, self._language, prompt)
        decoding = replace(decoding, without_timestamps=True, prefix=self._prefix)
        window = window_of(turn.samples, span, decoding)
        return shortened(window) if self._spec.short_windows else window

    def _words_of(self, hypothesis: Hypothesis) -> list[str]:
        verdict = verdict_on(hypothesis, self._options, self._tokenizer)
        text = self._tokenizer.decode(hypothesis.tokens)
        prompt = " ".join((*self._options.hotwords, self._options.prompt or ""))
        if verdict.rejected or verdict.silent or hypothesis.looped or is_echo(text, prompt):
            return []
        tokens = [token for token in hypothesis.tokens if token < self._tokenizer.eot]
        return _with_marks(self._tokenizer.split_to_word_tokens(tokens, hypothesis.language)[0])

    def _has_settled(self, outcome: Hypothesis) -> None:
        self._prefix = tuple(self._tokenizer.encode(self._agreement.text))
        self._language = outcome.language

    def _begins_anew(self) -> None:
        self._prefix = ()

    def _may_look(self) -> bool:
        return len(self._prefix) <= MAX_PREFIX


def _with_marks(words: Sequence[str]) -> list[str]:
    """The words, each with the punctuation behind it, the first with that before it too."""
    joined: list[str] = []
    for word in words:
        if joined and (word in APPEND_PUNCTUATIONS or not fold(joined[-1])):
            joined[-1] += word
        else:
            joined.append(word)
    return joined
