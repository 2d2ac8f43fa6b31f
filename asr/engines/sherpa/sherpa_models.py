"""One batch of windows through a recognizer: whole windows, and open turns of a streaming model."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from asr.constants import HOP_LENGTH, SAMPLE_RATE
from asr.engines.sherpa.heard_streams import HeardStreams
from asr.engines.sherpa.pieces import pieces_of
from asr.engines.sherpa.recognizers import TAIL_SAMPLES, decode_online
from asr.schema import Hypothesis, Samples, Window

LEAST_SAMPLES = SAMPLE_RATE // 2  # shorter windows get silence behind them: an encoder needs a few frames


class SherpaModel(Protocol):
    def decode(self, windows: Sequence[Window]) -> list[Hypothesis]:
        """One hypothesis per window, in order, without a language; lets errors through."""
        ...


class OfflineModel:
    """Windows are decoded whole, side by side."""

    def __init__(self, recognizer: Any) -> None:
        self._recognizer = recognizer

    def decode(self, windows: Sequence[Window]) -> list[Hypothesis]:
        streams = [new_stream(self._recognizer, window) for window in windows]
        for stream, window in zip(streams, windows, strict=True):
            stream.accept_waveform(SAMPLE_RATE, sound(own_samples(window), LEAST_SAMPLES))
        self._recognizer.decode_streams(streams)
        return [_hypothesis(stream.result, stream.result.ys_log_probs) for stream in streams]


class StreamingModel:
    """The same, by a model that hears from left to right; an open turn goes on where it was left."""

    def __init__(self, recognizer: Any) -> None:
        self._recognizer = recognizer
        self._heard = HeardStreams()

    def decode(self, windows: Sequence[Window]) -> list[Hypothesis]:
        streams = [self._fed(window) for window in windows]
        decode_online(self._recognizer, streams)
        return [self._told(*pair) for pair in zip(streams, windows, strict=True)]

    def _fed(self, window: Window) -> Any:
        samples = own_samples(window)
        if not window.options.is_open:
            stream = new_stream(self._recognizer, window)
            stream.accept_waveform(SAMPLE_RATE, sound(samples, len(samples) + TAIL_SAMPLES))
            stream.input_finished()
            return stream
        before = self._heard.take(samples, window.options.hotwords)
        stream = new_stream(self._recognizer, window) if before is None else before.stream
        rest = samples[before.num_samples if before is not None else 0 :]
        if len(rest):
            stream.accept_waveform(SAMPLE_RATE, sound(rest))
        return stream

    def _told(self, stream: Any, window: Window) -> Hypothesis:
        result = self._recognizer.get_result_all(stream)
        is_open = window.options.is_open
        if is_open:
            self._heard.keep(stream, own_samples(window), window.options.hotwords)
        is_endpoint = is_open and bool(self._recognizer.is_endpoint(stream))
        return _hypothesis(result, result.ys_probs, is_endpoint=is_endpoint)


def new_stream(recognizer: Any, window: Window) -> Any:
    """A stream that expects the window's hotwords."""
    hotwords = window.options.hotwords
    return recognizer.create_stream("/".join(hotwords)) if hotwords else recognizer.create_stream()


def own_samples(window: Window) -> Samples:
    """The window's samples without those that only a spectrogram at its edges needs."""
    first = window.left_context
    return window.samples[first : first + window.num_frames * HOP_LENGTH]


def sound(samples: Samples, least: int = 0) -> array[float]:
    """The samples within -1..1, with silence behind them up to `least`.

    The library copies number by number, a third faster from an array than from numpy's.
    """
    padded = np.zeros(max(least, len(samples)), np.float32)
    padded[: len(samples)] = samples.astype(np.float32) / np.float32(32768.0)
    return array("f", padded.tobytes())


def _hypothesis(result: Any, logprobs: Sequence[float], *, is_endpoint: bool = False) -> Hypothesis:
    """The result of one stream; CTC models tell no probabilities."""
    return Hypothesis(
        tokens=(),
        avg_logprob=sum(logprobs) / len(logprobs) if logprobs else math.nan,
        no_speech_prob=math.nan,
        temperature=0.0,
        language="",
        pieces=pieces_of(result.text, result.tokens, result.timestamps),
        is_endpoint=is_endpoint,
    )
