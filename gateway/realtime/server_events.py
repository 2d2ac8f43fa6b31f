"""Server events, each with its fields; `event_id` is added where they are sent."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from asr.errors import AsrError
from gateway.realtime.dialects import Name

Event = dict[str, Any]

TRANSCRIPTION = "conversation.item.input_audio_transcription"
TRANSCRIPT_FIELDS = ("usage", "logprobs")  # of the HTTP door's answer, beside the text


def new_id(kind: str) -> str:
    """An id like OpenAI's: `event_…`, `item_…`, `sess_…`."""
    return f"{kind}_{secrets.token_hex(12)}"


def speech_started(item_id: str, audio_ms: int) -> Event:
    return {"type": "input_audio_buffer.speech_started", "audio_start_ms": audio_ms, "item_id": item_id}


def speech_stopped(item_id: str, audio_ms: int) -> Event:
    return {"type": "input_audio_buffer.speech_stopped", "audio_end_ms": audio_ms, "item_id": item_id}


def item(item_id: str, transcript: str | None) -> Event:
    """A turn as an item of the conversation; its transcript is None until it is completed."""
    return {
        "id": item_id,
        "object": "realtime.item",
        "type": "message",
        "role": "user",
        "status": "completed",
        "content": [{"type": "input_audio", "transcript": transcript}],
    }


def committed(item_id: str, previous_id: str | None, dialect: Name) -> list[Event]:
    """The events of a commit, in OpenAI's order."""
    names = ("created",) if dialect == "beta" else ("added", "done")
    return [
        {"type": "input_audio_buffer.committed", "item_id": item_id, "previous_item_id": previous_id},
        *(
            {
                "type": f"conversation.item.{name}",
                "previous_item_id": previous_id,
                "item": item(item_id, None),
            }
            for name in names
        ),
    ]


def delta(item_id: str, text: str) -> Event:
    return {"type": f"{TRANSCRIPTION}.delta", "item_id": item_id, "content_index": 0, "delta": text}


def completed(item_id: str, answer: Mapping[str, Any]) -> Event:
    """answer: the HTTP door's, in JSON."""
    event = {
        "type": f"{TRANSCRIPTION}.completed",
        "item_id": item_id,
        "content_index": 0,
        "transcript": answer["text"],
    }
    event |= {name: answer[name] for name in TRANSCRIPT_FIELDS if name in answer}
    return event | ({"languages": answer["languages"]} if answer.get("languages") else {})


def failed(item_id: str, error: AsrError) -> Event:
    return {
        "type": f"{TRANSCRIPTION}.failed",
        "item_id": item_id,
        "content_index": 0,
        "error": error.body()["error"],
    }


def error_event(error: AsrError, event_id: str | None) -> Event:
    """event_id: of the client's event that caused it."""
    return {"type": "error", "error": {**error.body()["error"], "event_id": event_id}}
