"""What both synthesisers return, and its trimming to the spoken part."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import soxr

SAMPLE_RATE = 16_000  # Hz
EDGE_S = 0.02  # silence kept at each end
QUIET = 10 ** (-45 / 20)  # of the peak: below is silence


class SynthesisError(RuntimeError):
    """The synthesiser cannot say this, or not with one time for each word."""


@dataclass(frozen=True, slots=True)
class Speech:
    """One utterance. `samples` float32 [n] in [-1, 1]; `words` are (word, start_s, end_s)."""

    samples: np.ndarray
    sample_rate: int
    words: tuple[tuple[str, float, float], ...]


def spoken_range(samples: np.ndarray, sample_rate: int) -> tuple[int, int]:
    """First and last sample that are louder than 45 dB under the peak, over 5 ms blocks."""
    block = sample_rate // 200
    usable = len(samples) // block * block
    peaks = np.abs(samples[:usable]).reshape(-1, block).max(axis=1)
    if not len(peaks) or peaks.max() < 1e-3:
        raise SynthesisError("silent speech")
    loud = np.flatnonzero(peaks > QUIET * peaks.max())
    return int(loud[0]) * block, int(loud[-1] + 1) * block


def spans_from_starts(
    words: list[str], starts: list[float | None], samples: np.ndarray, sample_rate: int
) -> tuple[tuple[str, float, float], ...]:
    """Word spans that end where the next begins; missing starts share the gap by length of spelling."""
    first, last = (edge / sample_rate for edge in spoken_range(samples, sample_rate))
    known = [first if index == 0 else start for index, start in enumerate(starts)]
    for index, start in enumerate(known):
        if start is None:
            after = next((k for k in range(index, len(words)) if known[k] is not None), len(words))
            end = known[after] if after < len(words) else last
            before = known[index - 1]
            lengths = [len(word) for word in words[index - 1 : after]]
            known[index] = before + (end - before) * lengths[0] / sum(lengths)
    ends = [*known[1:], last]
    spans = tuple((w, max(s, first), e) for w, s, e in zip(words, known, ends, strict=True))
    if any(end - start < 0.02 for _, start, end in spans):
        raise SynthesisError("a word without duration")
    return spans


def at_16_khz(speech: Speech, speed: float) -> Speech:
    """The same at 16 kHz, trimmed to 20 ms around the speech, `speed` times as fast and high."""
    first, last = spoken_range(speech.samples, speech.sample_rate)
    edge = int(EDGE_S * speech.sample_rate)
    first, last = max(0, first - edge), min(len(speech.samples), last + edge)
    rate = speech.sample_rate * speed
    samples = soxr.resample(speech.samples[first:last], rate, SAMPLE_RATE, quality="MQ")
    offset, length = first / speech.sample_rate, (last - first) / speech.sample_rate
    words = tuple(
        (w, max(0.0, s - offset) / speed, min(length, e - offset) / speed) for w, s, e in speech.words
    )
    return Speech(samples.astype(np.float32), SAMPLE_RATE, words)
