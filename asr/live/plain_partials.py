"""Partials of the families beside Whisper: whole hypotheses of the open turn, without a text to go on from.

A model that hears streams says the same of a turn's beginning however long the turn has become, and its
worker goes on where it was: a word is settled once another one follows, or silence. Others hear the turn
again, and two looks must agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from asr.audio.windows import of_its_length, window_of
from asr.constants import SAMPLE_RATE
from asr.engine import ModelSpec
from asr.live.listener import OpenTurn
from asr.live.partials import Pace
from asr.live.turn_looks import Patience, Timing, TurnLooks
from asr.request.options import RequestOptions
from asr.schema import Hypothesis, SpeechSpan, Window
from asr.sessions.plain import plain_decoding
from asr.text.piece_words import word_texts

WHOLE_WINDOWS = Patience(min_samples=SAMPLE_RATE * 3 // 10, quiet_samples=SAMPLE_RATE // 10)
# a streaming encoder works by chunks of 0.3 to 0.7 s and hears ahead: this silence pushes the last word out
STREAMS = Patience(min_samples=SAMPLE_RATE // 10, quiet_samples=SAMPLE_RATE, hears_silence=True)
STREAM_INTERVAL_S = 0.25  # a look costs the new sound alone


class PlainPartials(TurnLooks):
    """One turn's `asr.live.partials.PartialSource`."""

    def __init__(self, options: RequestOptions, spec: ModelSpec, pace: Pace, timing: Timing) -> None:
        patience = WHOLE_WINDOWS
        if spec.hears_streams:
            # a beam may still change its mind about what it has said; a greedy search never does
            num_hypotheses = pace.num_hypotheses if spec.search_paths else 1
            pace, patience = Pace(STREAM_INTERVAL_S, num_hypotheses, 1), STREAMS
        super().__init__(pace, patience, timing)
        self._decoding = replace(plain_decoding(options), is_open=spec.hears_streams)

    def _window(self, turn: OpenTurn, span: SpeechSpan) -> Window:
        return of_its_length(window_of(turn.samples, span, self._decoding))

    def _words_of(self, hypothesis: Hypothesis) -> Sequence[str]:
        return word_texts(hypothesis.pieces)[self._agreement.num_settled :]
