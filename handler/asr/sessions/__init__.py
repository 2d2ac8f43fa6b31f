"""Sessions: one request's life, from audio to transcript, without knowing who decodes its windows."""

from __future__ import annotations

from collections.abc import Sequence

from asr.constants import SAMPLE_RATE
from asr.engine import ModelSpec
from asr.errors import InvalidOption
from asr.options import RequestOptions, VadOptions
from asr.prepared import PreparedAudio
from asr.schema import Samples, SpeechSpan
from asr.sessions.base import FileSession, Offer, Session
from asr.sessions.parallel import ParallelSession, Plan, clip_spans
from asr.sessions.sequential import SequentialSession
from asr.sessions.window import WindowSession
from asr.vad import Probs, spans_from_probs
from asr.windows import fixed_spans, plan_windows

__all__ = ["FileSession", "Offer", "Session", "WindowSession", "open_session"]


def open_session(prepared: PreparedAudio, options: RequestOptions, spec: ModelSpec) -> FileSession:
    """The session the options ask for, over audio prepared for the same options; raises InvalidOption."""
    if not spec.multilingual:
        _require_english(options, spec)
    samples = prepared.audio.samples
    if options.long_form == "sequential":
        assert prepared.log_mel_max is not None
        return SequentialSession(samples, prepared.log_mel_max, options, spec)
    if options.vad_filter:
        assert prepared.speech_probs is not None
        spans, plan = _detected(samples, prepared.speech_probs, options.vad)
    else:
        spans, plan = _undetected(samples)
    spans = _clipped(spans, options.clip_timestamps, len(samples))
    return ParallelSession(samples, spans, plan, options, spec)


def _detected(samples: Samples, probs: Probs, options: VadOptions) -> tuple[tuple[SpeechSpan, ...], Plan]:
    """The speech in the samples, and how to pack it into windows."""
    spans = spans_from_probs(probs, len(samples), options)
    max_gap = round(options.max_gap_s * SAMPLE_RATE)
    return spans, lambda spans, limit: plan_windows(spans, len(samples), limit, max_gap, probs)


def _undetected(samples: Samples) -> tuple[tuple[SpeechSpan, ...], Plan]:
    """Everything counts as speech, and is cut where it is quiet."""

    def plan(spans: Sequence[SpeechSpan], limit: int) -> tuple[SpeechSpan, ...]:
        return tuple(
            SpeechSpan(span.start + part.start, span.start + part.end)
            for span in spans
            for part in fixed_spans(samples[span.start : span.end], limit)
        )

    return (SpeechSpan(0, len(samples)),), plan


def _clipped(
    spans: tuple[SpeechSpan, ...], clip_timestamps: tuple[float, ...], num_samples: int
) -> tuple[SpeechSpan, ...]:
    """The spans inside the clips the caller named; all of them if none is named."""
    points = [round(seconds * SAMPLE_RATE) for seconds in clip_timestamps] or [0]
    if len(points) % 2:
        points.append(num_samples)
    clips = zip(points[::2], points[1::2], strict=True)
    return tuple(span for start, end in clips for span in clip_spans(spans, start, end))


def _require_english(options: RequestOptions, spec: ModelSpec) -> None:
    if options.task != "transcribe":
        message = f"task is {options.task!r}, but the model {spec.name!r} is English-only: transcribe"
        raise InvalidOption(message, param="task")
    if options.language not in (None, "en"):
        message = f"language is {options.language!r}, but the model {spec.name!r} knows English only: en"
        raise InvalidOption(message, param="language")
