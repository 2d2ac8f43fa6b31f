"""A frame of the client → its event, and the audio of an append."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from typing import Any

from asr.errors import InvalidOption
from gateway.realtime.violations import InvalidJson

MAX_AUDIO_BYTES = 15 * 1024 * 1024  # of one append, decoded
MAX_FRAME_BYTES = 22 * 1024 * 1024  # such an append in base64 and JSON, with room
LARGE_CHARS = 256 * 1024  # above which decoding leaves the event loop
MAX_ID_CHARS = 512


async def parsed(text: str) -> dict[str, Any]:
    """The event: an object with a `type`; raises InvalidJson."""
    try:
        event = await asyncio.to_thread(json.loads, text) if len(text) > LARGE_CHARS else json.loads(text)
    except (ValueError, RecursionError):
        raise InvalidJson("the frame is not JSON") from None
    if not isinstance(event, dict) or not isinstance(event.get("type"), str):
        raise InvalidJson("the frame must be a JSON object with a `type`", param="type")
    return event


def event_id_of(event: dict[str, Any]) -> str | None:
    """The client's own id of its event."""
    event_id = event.get("event_id")
    return event_id[:MAX_ID_CHARS] if isinstance(event_id, str) else None


async def audio_of(event: dict[str, Any]) -> bytes:
    """The bytes of an append; raises InvalidOption."""
    audio = event.get("audio")
    if not isinstance(audio, str):
        raise InvalidOption("audio must be a text, base64 of the session's format", param="audio")
    try:
        if len(audio) > LARGE_CHARS:
            chunk = await asyncio.to_thread(base64.b64decode, audio, validate=True)
        else:
            chunk = base64.b64decode(audio, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidOption("audio is not base64", param="audio") from None
    if len(chunk) > MAX_AUDIO_BYTES:
        raise InvalidOption(
            f"audio has {len(chunk)} bytes, an append takes {MAX_AUDIO_BYTES} at most", param="audio"
        )
    return chunk
