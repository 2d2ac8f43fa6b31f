"""Transcript → an answer of the whisper-asr-webservice, in the formats of openai-whisper's files."""

from __future__ import annotations

import json
from typing import Any

from asr.render.formats import clean, render, seconds, segment_fields
from asr.request.options import RequestOptions
from asr.schema import Segment, Transcript


def rendered(transcript: Transcript, options: RequestOptions, output: str) -> bytes:
    """The body of `output`: txt, vtt, srt, tsv or json."""
    if output == "txt":
        return "".join(f"{clean(segment.text).strip()}\n" for segment in transcript.segments).encode()
    if output == "json":
        return json.dumps(_result(transcript, options), ensure_ascii=False, allow_nan=False).encode()
    return render(transcript, options)[0]


def _result(transcript: Transcript, options: RequestOptions) -> dict[str, Any]:
    """The transcript as openai-whisper's `transcribe` returns it."""
    segments = [
        segment_fields(segment, index) | ({"words": _words(segment)} if options.word_timestamps else {})
        for index, segment in enumerate(transcript.segments)
    ]
    return {"text": clean(transcript.text), "segments": segments, "language": transcript.language}


def _words(segment: Segment) -> list[dict[str, Any]]:
    """The words as openai-whisper has them, each with the space before it."""
    return [
        {
            "word": clean(word.text),
            "start": seconds(max(0, word.start)),
            "end": seconds(max(0, word.end)),
            "probability": word.probability,
        }
        for word in segment.words
    ]
