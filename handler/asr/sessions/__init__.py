"""Sessions: one request's life, from audio to transcript, without knowing who decodes its windows."""

from __future__ import annotations

from asr.constants import SAMPLE_RATE
from asr.engine import ModelSpec
from asr.errors import InvalidOption
from asr.options import RequestOptions
from asr.schema import Audio, SpeechSpan
from asr.sessions.base import FileSession, Offer, Session
from asr.sessions.parallel import ParallelSession, clip_spans
from asr.sessions.sequential import SequentialSession
from asr.sessions.window import WindowSession
from asr.tokens import tokenizer_for
from asr.vad import speech_spans

__all__ = ["FileSession", "Offer", "Session", "WindowSession", "open_session"]


def open_session(audio: Audio, options: RequestOptions, spec: ModelSpec) -> FileSession:
    """The session the options ask for. Detects speech, so it takes time; raises InvalidOption."""
    tokenizer = tokenizer_for(spec.multilingual, spec.num_languages)
    if not spec.multilingual:
        _require_english(options, spec)
    if options.long_form == "sequential":
        return SequentialSession(audio.samples, options, spec, tokenizer)
    whole = (SpeechSpan(0, len(audio.samples)),)
    spans = speech_spans(audio.samples, options.vad) if options.vad_filter else whole
    spans = _clipped(spans, options.clip_timestamps, len(audio.samples))
    return ParallelSession(audio.samples, spans, options, spec, tokenizer)


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
