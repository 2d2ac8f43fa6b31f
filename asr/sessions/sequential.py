"""OpenAI's long-form algorithm: one window after the other, each behind the last timestamp of the one before.

In float32 its tokens, segments and times are those of `whisper.transcribe` (openai-whisper 20250625), but for
two things. A time behind the end of the audio is moved to the end. Two inputs on which openai-whisper never
ends do end here: a clip that lies behind the audio, and words that end where their window begins.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from asr.audio.windows import window_at
from asr.constants import (
    FRAMES_PER_SECOND,
    HOP_LENGTH,
    SAMPLE_RATE,
    WINDOW_FRAMES,
)
from asr.engine import ModelSpec
from asr.errors import AsrError
from asr.request.options import RequestOptions
from asr.schema import DecodingOptions, Hypothesis, Samples, Segment, Transcript, Window
from asr.sessions.base import Offer, Tally
from asr.sessions.hallucination import WindowClock
from asr.sessions.hallucination import judge as judge_hallucination
from asr.sessions.ladder import Climb, Verdict, decoding_options, judge
from asr.sessions.prompting import RollingPrompt, hotword_tokens, prompt_tokens
from asr.sessions.segmenting import blank_if_empty, clip_to_end, make_segment
from asr.text.slicing import WindowSlices, slice_tokens
from asr.text.tokenizer import tokenizer_for
from asr.text.words import NO_ALIGNMENT, SegmentWords, WordRules, time_words


class SequentialSession:
    """One utterance, sought through from start to end. At most one window is out at a time."""

    def __init__(
        self, samples: Samples, log_mel_max: float, options: RequestOptions, spec: ModelSpec
    ) -> None:
        self.error: AsrError | None = None
        self.segments: list[Segment] = []
        self._samples = samples
        self._options = options
        self._tokenizer = tokenizer_for(spec.multilingual, spec.num_languages)
        self._log_mel_max = log_mel_max  # log10, over the whole utterance
        self._content_frames = len(samples) // HOP_LENGTH
        self._clips = _clips(options.clip_timestamps, self._content_frames)
        self._seek = self._clips[0][0]
        self._language = options.decoding.language or (None if spec.multilingual else "en")
        hotwords = hotword_tokens(options, self._tokenizer)
        prompt = prompt_tokens(options, self._tokenizer)
        carried, initial = (hotwords + prompt, ()) if options.carry_initial_prompt else (hotwords, prompt)
        self._prompt = RollingPrompt(carried, initial, spec.n_text_ctx)
        self._last_speech = 0.0  # seconds, where the last word ended
        self._climb: Climb | None = None
        self._is_out = False
        self._is_finished = False
        self._taken = 0
        self._tally = Tally()

    @property
    def done(self) -> bool:
        return self._is_finished or self.error is not None

    def offers(self) -> list[Offer]:
        if self.done or self._is_out:
            return []
        if self._language is None:
            window = self._detection_window()
        else:
            self._climb = self._climb or self._next_climb()
            if self._climb is None:
                self._is_finished = True
                return []
            window = self._climb.window
        self._is_out = True
        return [Offer(0, window)]

    def accept(self, offer: Offer, outcome: Hypothesis | AsrError) -> None:
        self._is_out = False
        if isinstance(outcome, AsrError):
            self.error = outcome
            return
        if self._language is None:
            self._language = outcome.language
        else:
            assert self._climb is not None
            verdict = judge(self._climb, outcome, self._options, self._tokenizer, self._tally)
            if isinstance(verdict, Climb):
                self._climb = verdict
                return
            seek, num_frames, self._climb = self._seek, self._climb.window.num_frames, None
            self._advance(verdict, num_frames)
            if self._seek <= seek:  # words end where the window begins: openai-whisper would never return
                self._seek = seek + num_frames
        if self._climb is None and self._next_frames() is None:
            self._is_finished = True

    def take_segments(self) -> tuple[Segment, ...]:
        new = tuple(clip_to_end(s, len(self._samples)) for s in self.segments[self._taken :] if s.text)
        self._taken = len(self.segments)
        return new

    def transcript(self) -> Transcript:
        segments = tuple(
            clip_to_end(segment, len(self._samples)) for segment in self.segments if segment.text
        )
        text = "".join(segment.text for segment in segments)
        language = self._language or "en"
        stats = self._tally.stats()
        return Transcript(text, segments, language, self._options.decoding.task, len(self._samples), stats)

    def _detection_window(self) -> Window:
        options = DecodingOptions(task="detect_language", languages=self._options.decoding.languages)
        return window_at(self._samples, 0, WINDOW_FRAMES, options, self._log_mel_max)

    def _next_frames(self) -> int | None:
        """Mel frames of the next window, having moved `_seek` to it; None at the end of the last clip."""
        while self._clips:
            start, end = self._clips[0]
            self._seek = max(self._seek, start)
            if self._seek < end:
                num_frames = min(WINDOW_FRAMES, self._content_frames - self._seek, end - self._seek)
                if num_frames > 0:
                    return num_frames
            self._clips.pop(0)
            if self._clips:
                self._seek = self._clips[0][0]
        return None

    def _next_climb(self) -> Climb | None:
        num_frames = self._next_frames()
        if num_frames is None:
            return None
        options = decoding_options(self._options, self._language, self._prompt.tokens())
        return Climb(window_at(self._samples, self._seek, num_frames, options, self._log_mel_max))

    def _advance(self, verdict: Verdict, num_frames: int) -> None:
        """Takes a decided window: its segments, its text for the next prompt, the next position."""
        if verdict.silent:
            self._seek += num_frames
            return
        hypothesis = verdict.hypothesis
        seek = self._seek
        slices = slice_tokens(hypothesis.tokens, self._tokenizer.timestamp_begin, num_frames)
        self._seek += slices.frames
        words: list[SegmentWords] | None = None
        if self._options.word_timestamps:
            words = self._time_words(slices, hypothesis, seek, num_frames)
            if words is None:
                return
        segments = self._segments(slices, words, verdict, seek)
        self.segments.extend(segments)
        for segment in segments:
            self._prompt.extend(segment.tokens)
        if not self._options.condition_on_previous_text or hypothesis.temperature > 0.5:
            self._prompt.reset()

    def _segments(
        self, slices: WindowSlices, words: list[SegmentWords] | None, verdict: Verdict, seek: int
    ) -> list[Segment]:
        placed: Sequence[SegmentWords | None] = [None] * len(slices.items) if words is None else words
        return [
            blank_if_empty(make_segment(timed, timed_words, verdict, seek * HOP_LENGTH, self._tokenizer))
            for timed, timed_words in zip(slices.items, placed, strict=False)
        ]

    def _time_words(
        self, slices: WindowSlices, hypothesis: Hypothesis, seek: int, num_frames: int
    ) -> list[SegmentWords] | None:
        """The words of the slices, having moved `_seek` to their end; None: keep nothing, decode again."""
        rules = WordRules(
            self._tokenizer,
            hypothesis.language,
            self._options.prepend_punctuations,
            self._options.append_punctuations,
        )
        start = float(seek * HOP_LENGTH / SAMPLE_RATE)
        alignment = hypothesis.alignment or NO_ALIGNMENT
        words = time_words(slices.items, alignment, rules, start, self._last_speech)
        words_end = _last_end(words)
        if not slices.complete and words_end > start:
            self._seek = round(words_end * FRAMES_PER_SECOND)
        threshold = self._options.hallucination_silence_threshold
        if threshold is not None:
            end = float((seek + WINDOW_FRAMES) * HOP_LENGTH / SAMPLE_RATE)
            if not slices.complete and words_end > start and end - words_end <= threshold:
                self._seek = seek + num_frames
            clock = WindowClock(seek, num_frames, self._content_frames, start, end, self._last_speech)
            verdict = judge_hallucination(words, clock, self._seek, threshold)
            self._seek = verdict.seek
            if verdict.again:
                return None
            words = words[: verdict.num_kept]
        if words:
            self._last_speech = _last_end(words)
        return words


def _clips(clip_timestamps: tuple[float, ...], content_frames: int) -> list[tuple[int, int]]:
    """Pairs of seconds → ranges of mel frames to decode; a missing last end is the end of the audio."""
    points = [round(seconds * FRAMES_PER_SECOND) for seconds in clip_timestamps] or [0]
    if len(points) % 2:
        points.append(content_frames)
    return list(zip(points[::2], points[1::2], strict=True))


def _last_end(segments: list[SegmentWords]) -> float:
    """Where the last word ends, in seconds; without any word, where the last segment does."""
    ends = [segment.words[-1].end for segment in segments if segment.words]
    return ends[-1] if ends else segments[-1].end if segments else -math.inf
