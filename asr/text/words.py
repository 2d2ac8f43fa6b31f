"""A window's token alignment → timed words per segment (add_word_timestamps of whisper/timing.py).

This module computes in float seconds, as openai-whisper does, so that its many comparisons come out the same;
the words it returns are in samples.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from asr.constants import FRAMES_PER_POSITION, POSITIONS_PER_SECOND, SAMPLE_RATE, SECONDS_PER_POSITION
from asr.schema import TokenAlignment, Word
from asr.text.slicing import TimedTokens
from asr.text.tokenizer import Tokenizer

NO_ALIGNMENT = TokenAlignment((), (0,), ())  # a window without text
_SENTENCE_ENDS = ".。!！?？"


@dataclass(slots=True)
class _Timing:
    """A word while its edges are still moved about; seconds from the start of the window."""

    text: str
    num_tokens: int
    start: float
    end: float
    probability: float


@dataclass(slots=True)
class SegmentWords:
    """A segment's words and its edges, moved to them; seconds in the utterance."""

    start: float
    end: float
    words: list[_Timing]

    def to_words(self) -> tuple[Word, ...]:
        return tuple(
            Word(w.text, round(w.start * SAMPLE_RATE), round(w.end * SAMPLE_RATE), w.probability)
            for w in self.words
        )


@dataclass(frozen=True, slots=True)
class WordRules:
    """How words are cut out of tokens."""

    tokenizer: Tokenizer
    language: str
    prepend_punctuations: str
    append_punctuations: str


def time_words(
    slices: Sequence[TimedTokens],
    alignment: TokenAlignment,
    rules: WordRules,
    time_offset: float,
    last_speech: float,
    speech: Sequence[tuple[float, float]] = (),
) -> list[SegmentWords]:
    """The words of each slice.

    time_offset: start of the window in the utterance, seconds; last_speech: end of the words before this
    window, seconds; speech: the detected speech, seconds from the start of the window: no word reaches out of
    it into a pause.
    """
    timings = _word_timings(alignment, rules)
    durations = np.array([t.end - t.start for t in timings])
    durations = durations[durations.nonzero()]
    median = min(0.7, float(np.median(durations))) if len(durations) else 0.0
    if len(durations):
        _shorten_at_sentence_ends(timings, 2 * median)
    _merge_punctuations(timings, rules.prepend_punctuations, rules.append_punctuations)
    _keep_in_speech(timings, speech)
    segments, next_word = [], 0
    for timed in slices:
        num_tokens = sum(token < rules.tokenizer.eot for token in timed.tokens)
        words, next_word = _take_words(timings, next_word, num_tokens, time_offset)
        start, end = (
            time_offset + edge / FRAMES_PER_POSITION * SECONDS_PER_POSITION
            for edge in (timed.start, timed.end)
        )
        segments.append(SegmentWords(start, end, words))
        if words:
            _fit_to_words(segments[-1], median, last_speech)
            last_speech = segments[-1].end
    return segments


def _word_timings(alignment: TokenAlignment, rules: WordRules) -> list[_Timing]:
    tokens = list(alignment.tokens)
    texts, word_tokens = rules.tokenizer.split_to_word_tokens([*tokens, rules.tokenizer.eot], rules.language)
    if len(word_tokens) <= 1:
        return []  # end-of-text alone
    timings, first = [], 0
    for text, word in zip(texts[:-1], word_tokens[:-1], strict=True):
        last = first + len(word)
        start, end = (alignment.starts[edge] / POSITIONS_PER_SECOND for edge in (first, last))
        probability = float(np.mean(alignment.probs[first:last]))
        timings.append(_Timing(text, len(word), start, end, probability))
        first = last
    return timings


def _shorten_at_sentence_ends(timings: list[_Timing], max_duration: float) -> None:
    for previous, timing in itertools.pairwise(timings):
        if timing.end - timing.start > max_duration:
            if timing.text in _SENTENCE_ENDS:
                timing.end = timing.start + max_duration
            elif previous.text in _SENTENCE_ENDS:
                timing.start = timing.end - max_duration


def _merge_punctuations(timings: list[_Timing], prepended: str, appended: str) -> None:
    """Opening marks join the word behind them, closing marks the word before; emptied words stay, empty."""
    following = len(timings) - 1
    for i in range(len(timings) - 2, -1, -1):
        mark = timings[i]
        if mark.text.startswith(" ") and mark.text.strip() in prepended:
            _join(timings[following], mark, in_front=True)
        else:
            following = i
    previous = 0
    for i in range(1, len(timings)):
        mark = timings[i]
        if not timings[previous].text.endswith(" ") and mark.text in appended:
            _join(timings[previous], mark, in_front=False)
        else:
            previous = i


def _keep_in_speech(timings: list[_Timing], speech: Sequence[tuple[float, float]]) -> None:
    """Cuts each word to the run of speech that it overlaps most; a word outside all of them stays as it is.

    A word ends where the next one starts, so that a pause between them counts as a part of it.
    """
    for timing in timings:
        shared = [(min(timing.end, end) - max(timing.start, start), start, end) for start, end in speech]
        overlap, start, end = max(shared, default=(0.0, 0.0, 0.0))
        if overlap > 0:
            timing.start, timing.end = max(timing.start, start), min(timing.end, end)


def _join(word: _Timing, mark: _Timing, *, in_front: bool) -> None:
    word.text = mark.text + word.text if in_front else word.text + mark.text
    word.num_tokens += mark.num_tokens
    mark.text, mark.num_tokens = "", 0


def _take_words(
    timings: list[_Timing], next_word: int, num_tokens: int, time_offset: float
) -> tuple[list[_Timing], int]:
    """The words that cover the next `num_tokens` tokens, on the utterance's clock, rounded to 10 ms."""
    words: list[_Timing] = []
    taken = 0
    while next_word < len(timings) and taken < num_tokens:
        timing = timings[next_word]
        if timing.text:
            start, end = round(time_offset + timing.start, 2), round(time_offset + timing.end, 2)
            words.append(_Timing(timing.text, timing.num_tokens, start, end, timing.probability))
        taken += timing.num_tokens
        next_word += 1
    return words, next_word


def _fit_to_words(segment: SegmentWords, median: float, last_speech: float) -> None:
    """Shortens the first words after a pause; makes the segment and its outer words agree on their edges."""
    words = segment.words
    first, last = words[0], words[-1]
    max_duration = 2 * median
    too_long = first.end - first.start > max_duration
    too_long_together = len(words) > 1 and words[1].end - first.start > 2 * max_duration
    if first.end - last_speech > 4 * median and (too_long or too_long_together):
        if len(words) > 1 and words[1].end - words[1].start > max_duration:
            first.end = words[1].start = max(words[1].end / 2, words[1].end - max_duration)
        first.start = max(0, first.end - max_duration)
    if segment.start < first.end and segment.start - 0.5 > first.start:
        first.start = max(0, min(first.end - median, segment.start))
    else:
        segment.start = first.start
    if segment.end > last.start and segment.end + 0.5 < last.end:
        last.end = max(last.start + median, segment.end)
    else:
        segment.end = last.end
