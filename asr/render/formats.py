"""Transcript → the body and content type of an answer, in OpenAI's shapes (audio API, August 2026).

All text leaves in Unicode's composed form (NFC) and without U+FFFD, the mark of bytes that are not UTF-8.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from asr.constants import SAMPLE_RATE, SAMPLES_PER_POSITION
from asr.errors import AsrError
from asr.languages import LANGUAGES
from asr.render.subtitles import Cue, cues, milliseconds, srt, tsv, vtt
from asr.request.language_tags import iso_code
from asr.request.options import RequestOptions
from asr.schema import Segment, Transcript, Word

JSON = "application/json"
TEXT = "text/plain; charset=utf-8"
SRT = "application/x-subrip; charset=utf-8"
VTT = "text/vtt; charset=utf-8"
TSV = "text/tab-separated-values; charset=utf-8"

LOWEST_LOGPROB = -9999.0  # OpenAI's stand-in for the logarithm of zero, which JSON cannot say
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffd]")  # all but tab and line feed


def render(transcript: Transcript, options: RequestOptions) -> tuple[bytes, str]:
    """The answer's body and content type, in `options.response_format`."""
    shape, content_type = SHAPES[options.response_format]
    return shape(transcript, options).encode(), content_type


def sse_delta(text: str, logprobs: Sequence[Mapping[str, Any]] | None = None) -> bytes:
    """The event that carries a new piece of text and, if asked for, its tokens."""
    fields = {} if logprobs is None else {"logprobs": logprobs}
    return _event({"type": "transcript.text.delta", "delta": clean(text), **fields})


def sse_segment(segment: Segment, index: int, options: RequestOptions) -> bytes:
    """The event that carries a finished segment, with its words if asked for. As in OpenAI's, the id is text
    and there is a speaker: an empty one, as this server does not tell speakers apart."""
    fields = {**segment_fields(segment, index), "id": str(index), "speaker": ""}
    if options.word_timestamps:
        fields["words"] = [_word(word) for word in segment.words]
    return _event({"type": "transcript.text.segment", **fields})


def sse_done(transcript: Transcript, options: RequestOptions) -> bytes:
    """The last event: the full text, the usage and, if asked for, the tokens' log-probabilities."""
    fields = {**_text_fields(transcript, options), "usage": _token_usage(transcript)}
    return _event({"type": "transcript.text.done", **fields})


def sse_error(error: AsrError) -> bytes:
    """The event that ends a stream whose request fails after its first event."""
    return _event({"type": "error", **error.body()})


def clean(text: str) -> str:
    """`text` in NFC, without U+FFFD and control characters; tabs and line feeds stay."""
    return unicodedata.normalize("NFC", CONTROL.sub("", text))


def _json(transcript: Transcript, options: RequestOptions) -> str:
    return _dumps(_text_fields(transcript, options))


def _verbose_json(transcript: Transcript, options: RequestOptions) -> str:
    # OpenAI's translations always say "english"; its type needs a text even where no speech was heard
    language = "en" if transcript.task == "translate" else transcript.language or ""
    answer: dict[str, Any] = {
        "task": transcript.task,
        "language": LANGUAGES.get(language, language),
        "duration": seconds(transcript.duration),
        "text": clean(transcript.text).strip(),
    }
    if "segment" in options.granularities:
        answer["segments"] = [
            segment_fields(segment, index) for index, segment in enumerate(transcript.segments)
        ]
    if options.word_timestamps:
        answer["words"] = [_word(word) for segment in transcript.segments for word in segment.words]
    answer["usage"] = _usage(transcript)
    if transcript.model is not None:
        answer["model"] = transcript.model
    return _dumps(answer)


def _text(transcript: Transcript, _options: RequestOptions) -> str:
    return clean(transcript.text).strip() + "\n"


def _srt(transcript: Transcript, options: RequestOptions) -> str:
    return srt(_cues(transcript, options))


def _vtt(transcript: Transcript, options: RequestOptions) -> str:
    return vtt(_cues(transcript, options))


def _tsv(transcript: Transcript, options: RequestOptions) -> str:
    return tsv(_cues(transcript, options))


SHAPES: Mapping[str, tuple[Callable[[Transcript, RequestOptions], str], str]] = {
    "json": (_json, JSON),
    "text": (_text, TEXT),
    "srt": (_srt, SRT),
    "vtt": (_vtt, VTT),
    "tsv": (_tsv, TSV),
    "verbose_json": (_verbose_json, JSON),
}


def _cues(transcript: Transcript, options: RequestOptions) -> list[Cue]:
    """A cue per segment, or per word where words were asked for."""
    pieces: Sequence[Segment | Word] = transcript.segments
    if options.word_timestamps:
        pieces = [word for segment in transcript.segments for word in segment.words]
    timed = [(piece.start, piece.end, clean(piece.text)) for piece in pieces]
    return cues(timed, transcript.duration)


def seconds(samples: int) -> float:
    """Seconds to the millisecond."""
    return milliseconds(samples) / 1000


def _text_fields(transcript: Transcript, options: RequestOptions) -> dict[str, Any]:
    spoken = [{"code": iso_code(transcript.language)}] if transcript.language else []
    fields: dict[str, Any] = {"text": clean(transcript.text).strip(), "languages": spoken}
    if options.decoding.token_logprobs:
        fields["logprobs"] = [entry for segment in transcript.segments for entry in logprobs(segment)]
    fields["usage"] = _usage(transcript)
    return fields


def _usage(transcript: Transcript) -> dict[str, Any]:
    """The duration, rounded up to whole seconds, which OpenAI bills."""
    return {"type": "duration", "seconds": -(-transcript.duration // SAMPLE_RATE)}


def _token_usage(transcript: Transcript) -> dict[str, Any]:
    """A stream's usage, in tokens, because OpenAI's clients read nothing else in this event: of audio, the
    encoder's positions of 20 ms; of text, the decoded tokens. The seconds of the other answers come too."""
    audio_tokens = -(-transcript.duration // SAMPLES_PER_POSITION)
    text_tokens = sum(len(segment.tokens) for segment in transcript.segments)
    return {
        "type": "tokens",
        "input_tokens": audio_tokens,
        "output_tokens": text_tokens,
        "total_tokens": audio_tokens + text_tokens,
        "input_token_details": {"audio_tokens": audio_tokens},
        "seconds": _usage(transcript)["seconds"],
    }


def segment_fields(segment: Segment, index: int) -> dict[str, Any]:
    """A segment as in `verbose_json` and in openai-whisper's result."""
    return {
        "id": index,
        "seek": segment.seek,
        "start": seconds(segment.start),
        "end": seconds(segment.end),
        "text": clean(segment.text),
        "tokens": list(segment.tokens),
        "temperature": segment.temperature,
        "avg_logprob": None if segment.avg_logprob is None else _logprob(segment.avg_logprob),
        "compression_ratio": segment.compression_ratio,
        "no_speech_prob": _finite(segment.no_speech_prob),
    }


def _word(word: Word) -> dict[str, Any]:
    return {
        "word": clean(word.text).strip(),
        # openai-whisper's alignment begins one position early in windows of a single one
        "start": seconds(max(0, word.start)),
        "end": seconds(max(0, word.end)),
        "probability": word.probability,
    }


def logprobs(segment: Segment) -> list[dict[str, Any]]:
    """OpenAI's list of text tokens; special ones, timestamps too, have no bytes and are left out."""
    num_logprobs, num_bytes = len(segment.token_logprobs), len(segment.token_bytes)
    if num_logprobs != num_bytes:
        raise ValueError(f"a segment has {num_logprobs} token_logprobs and {num_bytes} token_bytes")
    return [
        # a token may end inside a character: `bytes` is exact, `token` then shows them escaped
        {"token": raw.decode(errors="backslashreplace"), "logprob": _logprob(logprob), "bytes": list(raw)}
        for raw, logprob in zip(segment.token_bytes, segment.token_logprobs, strict=True)
        if raw
    ]


def _logprob(value: float) -> float:
    return max(value, LOWEST_LOGPROB) if math.isfinite(value) else LOWEST_LOGPROB


def _finite(value: float | None) -> float | None:
    return value if value is None or math.isfinite(value) else 0.0


def _event(fields: Mapping[str, Any]) -> bytes:
    return f"data: {_dumps(fields)}\n\n".encode()


def _dumps(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
