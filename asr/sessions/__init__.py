"""Sessions: one request's life, from audio to transcript, without knowing who decodes its windows."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace

from asr.audio.levels import is_steady
from asr.audio.prepare import PreparedAudio
from asr.audio.stretches import Stretch, clip_spans, plan_stretches, unheard
from asr.audio.vad import Probs, spans_from_probs
from asr.audio.windows import quiet_pieces
from asr.constants import SAMPLE_RATE, WINDOW_SAMPLES
from asr.engine import ModelSpec
from asr.errors import InvalidOption
from asr.request.options import RequestOptions, VadOptions
from asr.schema import Samples, SpeechSpan
from asr.sessions.base import BROKEN, FileSession, LiveSession, Offer, Session
from asr.sessions.detection import DetectionSession
from asr.sessions.parallel import ParallelSession, StretchPlanner
from asr.sessions.plain import PlainSession
from asr.sessions.sequential import SequentialSession
from asr.sessions.window import WindowSession
from asr.text.tokenizer import tokenizer_for

__all__ = [
    "BROKEN",
    "DetectionSession",
    "FileSession",
    "LiveSession",
    "Offer",
    "Session",
    "WindowSession",
    "open_detection",
    "open_session",
]

# a longer pause ends a window of a family beside Whisper: its windows are as long as their speech, so that
# short ones waste nothing, and each one is a segment
PLAIN_GAP_S = 0.6


def open_session(prepared: PreparedAudio, options: RequestOptions, spec: ModelSpec) -> FileSession:
    """The session the options ask for, over audio prepared for the same options.

    Raises InvalidOption.
    """
    if not spec.is_whisper:
        if options.vad.max_gap_s is None:
            options = replace(options, vad=replace(options.vad, max_gap_s=PLAIN_GAP_S))
        _, plan = _planned(prepared, options)
        return PlainSession(prepared.audio.samples, plan(WINDOW_SAMPLES), options, spec)
    if not spec.multilingual:
        _require_english(options, spec)
    samples = prepared.audio.samples
    if options.long_form == "sequential":
        assert prepared.log_mel_max is not None
        return SequentialSession(samples, prepared.log_mel_max, options, spec)
    spans, plan = _planned(prepared, options)
    return ParallelSession(samples, spans, plan, options, spec)


def open_detection(prepared: PreparedAudio, options: RequestOptions, spec: ModelSpec) -> DetectionSession:
    """The session that finds the language of audio prepared for the same options, and no text.

    Raises InvalidOption for a model that detects none.
    """
    if not spec.is_whisper:
        raise InvalidOption(f"the model {spec.name!r} detects no language: ask Whisper", param="model")
    spans, plan = _planned(prepared, options)
    tokenizer = tokenizer_for(spec.multilingual, spec.num_languages)
    return DetectionSession(prepared.audio.samples, spans, plan(WINDOW_SAMPLES), options, tokenizer)


def _planned(
    prepared: PreparedAudio, options: RequestOptions
) -> tuple[tuple[SpeechSpan, ...], StretchPlanner]:
    """The speech, and how to pack it into windows."""
    samples = prepared.audio.samples
    clips = _clips(options.clip_timestamps, len(samples))
    if not options.vad_filter:
        return clips, _undetected(samples, clips)
    assert prepared.speech_probs is not None
    spans = spans_from_probs(prepared.speech_probs, len(samples), options.vad)
    spans = tuple(span for clip in clips for span in clip_spans(spans, clip.start, clip.end))
    return spans, _detected(samples, spans, prepared.speech_probs, clips, options.vad)


def _detected(
    samples: Samples,
    spans: Sequence[SpeechSpan],
    probs: Probs,
    clips: Sequence[SpeechSpan],
    options: VadOptions,
) -> StretchPlanner:
    """Stretches around the speech, and doubtful ones around other sound."""
    max_gap = None if options.max_gap_s is None else round(options.max_gap_s * SAMPLE_RATE)

    @functools.cache  # called again once the language is known, mostly with the same limit
    def plan(limit: int) -> tuple[Stretch, ...]:
        stretches: list[Stretch] = []
        for clip in clips:
            around_speech = plan_stretches(spans, clip, limit, probs, max_gap)
            doubtful = [
                Stretch(piece, piece, is_doubtful=True)
                for gap in unheard(around_speech, clip)
                for piece in quiet_pieces(samples, gap, WINDOW_SAMPLES)
                if not is_steady(samples[piece.start : piece.end])
            ]
            stretches += sorted((*around_speech, *doubtful), key=lambda each: each.span.start)
        return tuple(stretches)

    return plan


def _undetected(samples: Samples, clips: Sequence[SpeechSpan]) -> StretchPlanner:
    """Everything counts as speech and is cut at quiet places."""

    def plan(limit: int) -> tuple[Stretch, ...]:
        return tuple(Stretch(piece, piece) for clip in clips for piece in quiet_pieces(samples, clip, limit))

    return plan


def _clips(clip_timestamps: tuple[float, ...], num_samples: int) -> tuple[SpeechSpan, ...]:
    """The clips that the caller asked for, inside the audio; all of the audio by default."""
    points = [min(round(seconds * SAMPLE_RATE), num_samples) for seconds in clip_timestamps] or [0]
    if len(points) % 2:
        points.append(num_samples)
    pairs = zip(points[::2], points[1::2], strict=True)
    return tuple(SpeechSpan(start, end) for start, end in pairs if start < end)


def _require_english(options: RequestOptions, spec: ModelSpec) -> None:
    task, language = options.decoding.task, options.decoding.language
    if task != "transcribe":
        message = f"task is {task!r}, but the model {spec.name!r} is English-only: transcribe"
        raise InvalidOption(message, param="task")
    if language not in (None, "en"):
        message = f"language is {language!r}, but the model {spec.name!r} knows English only: en"
        raise InvalidOption(message, param="language")
