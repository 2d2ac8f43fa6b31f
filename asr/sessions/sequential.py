"""OpenAI's long-form algorithm: one window after the other, each behind the last timestamp of the one before.

In float32 its tokens, segments and times are those of `whisper.transcribe` (openai-whisper 20250625), except:
times that openai-whisper puts behind the end of the audio are at its end here, and two inputs on which
openai-whisper does not end do end here (a clip that lies behind the audio, and words that end where their
window begins).
"""

from __future__ import annotations

import math

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
from asr.sessions.ladder import Climb, Judged, decoding_options, judge
from asr.sessions.prompting import RollingPrompt, hotword_tokens, prompt_tokens
from asr.sessions.segmenting import cleared, ended, make_segment
from asr.text.slicing import Slicing, slice_tokens
from asr.text.tokenizer import tokenizer_for
from asr.text.words import NO_ALIGNMENT, TimedPiece, WordRules, time_pieces


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
            judged = judge(self._climb, outcome, self._options, self._tokenizer, self._tally)
            if isinstance(judged, Climb):
                self._climb = judged
                return
            seek, num_frames, self._climb = self._seek, self._climb.window.num_frames, None
            self._advance(judged, num_frames)
            if self._seek <= seek:  # words that end where the window begins: upstream would never return
                self._seek = seek + num_frames
        if self._climb is None and self._next_frames() is None:
            self._is_finished = True

    def take_segments(self) -> tuple[Segment, ...]:
        new = tuple(ended(s, len(self._samples)) for s in self.segments[self._taken :] if s.text)
        self._taken = len(self.segments)
        return new

    def transcript(self) -> Transcript:
        segments = tuple(ended(segment, len(self._samples)) for segment in self.segments if segment.text)
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

    def _advance(self, judged: Judged, num_frames: int) -> None:
        """Takes a decided window: its segments, its text for the next prompt, where to listen next."""
        if judged.silent:
            self._seek += num_frames
            return
        hypothesis = judged.hypothesis
        seek = self._seek
        slicing = slice_tokens(hypothesis.tokens, self._tokenizer.timestamp_begin, num_frames)
        self._seek += slicing.frames
        timed: list[TimedPiece] | None = None
        if self._options.word_timestamps:
            timed = self._time_words(slicing, hypothesis, seek, num_frames)
            if timed is None:
                return
        segments = self._segments(slicing, timed, judged, seek)
        self.segments.extend(segments)
        for segment in segments:
            self._prompt.extend(segment.tokens)
        if not self._options.condition_on_previous_text or hypothesis.temperature > 0.5:
            self._prompt.reset()

    def _segments(
        self, slicing: Slicing, timed: list[TimedPiece] | None, judged: Judged, seek: int
    ) -> list[Segment]:
        pieces = slicing.pieces if timed is None else slicing.pieces[: len(timed)]
        segments = []
        for i, piece in enumerate(pieces):
            placed = timed[i] if timed is not None else None
            segments.append(cleared(make_segment(piece, placed, judged, seek * HOP_LENGTH, self._tokenizer)))
        return segments

    def _time_words(
        self, slicing: Slicing, hypothesis: Hypothesis, seek: int, num_frames: int
    ) -> list[TimedPiece] | None:
        """The pieces with their words, `_seek` corrected by them; None: listen again, keep nothing."""
        rules = WordRules(
            self._tokenizer,
            hypothesis.language,
            self._options.prepend_punctuations,
            self._options.append_punctuations,
        )
        start = float(seek * HOP_LENGTH / SAMPLE_RATE)
        alignment = hypothesis.alignment or NO_ALIGNMENT
        timed = time_pieces(slicing.pieces, alignment, rules, start, self._last_speech)
        words_end = _last_end(timed)
        if not slicing.complete and words_end > start:
            self._seek = round(words_end * FRAMES_PER_SECOND)
        threshold = self._options.hallucination_silence_threshold
        if threshold is not None:
            end = float((seek + WINDOW_FRAMES) * HOP_LENGTH / SAMPLE_RATE)
            if not slicing.complete and words_end > start and end - words_end <= threshold:
                self._seek = seek + num_frames
            clock = WindowClock(seek, num_frames, self._content_frames, start, end, self._last_speech)
            finding = judge_hallucination(timed, clock, self._seek, threshold)
            self._seek = finding.seek
            if finding.again:
                return None
            timed = timed[: finding.num_pieces]
        if timed:
            self._last_speech = _last_end(timed)
        return timed


def _clips(clip_timestamps: tuple[float, ...], content_frames: int) -> list[tuple[int, int]]:
    """Mel-frame ranges to decode, of pairs of seconds; a last end that is missing is the end of the audio."""
    points = [round(seconds * FRAMES_PER_SECOND) for seconds in clip_timestamps] or [0]
    if len(points) % 2:
        points.append(content_frames)
    return list(zip(points[::2], points[1::2], strict=True))


def _last_end(timed: list[TimedPiece]) -> float:
    """Where the last word ends, in seconds; without any word, where the last piece does."""
    ends = [piece.words[-1].end for piece in timed if piece.words]
    return ends[-1] if ends else timed[-1].end if timed else -math.inf
