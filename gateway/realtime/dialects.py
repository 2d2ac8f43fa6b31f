"""The two shapes of the same session: OpenAI's current one, and the flat one of its beta.

A connection speaks the beta if it says so in a header or a subprotocol, or if its first update is of the
beta's. Either way it stays with its dialect.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from gateway.realtime.session_config import SessionConfig

Name = Literal["current", "beta"]

BETA_FORMATS = {"pcm16": "audio/pcm", "g711_ulaw": "audio/pcmu", "g711_alaw": "audio/pcma"}
BETA_GROUPS = {  # flat name → name in `audio.input`
    "input_audio_format": "format",
    "input_audio_transcription": "transcription",
    "input_audio_noise_reduction": "noise_reduction",
    "turn_detection": "turn_detection",
}
BETA_UPDATE = "transcription_session.update"
BETA_PROTOCOL = "openai-beta.realtime-v1"


@dataclass(frozen=True, slots=True)
class Stream:
    """What every echo of a session says of its stream."""

    id: str
    expires_at: int  # Unix time


def is_beta_update(event: Mapping[str, Any]) -> bool:
    """Whether the update is written in the beta's shape."""
    session = event.get("session")
    flat = isinstance(session, dict) and bool(session.keys() & BETA_GROUPS.keys())
    return event["type"] == BETA_UPDATE or flat


def stated(session: Mapping[str, Any]) -> dict[str, Any]:
    """A session of either shape → {"include": …, "input": {…}} with the fields that it has."""
    audio = session.get("audio")
    sound = audio.get("input") if isinstance(audio, dict) else None
    result: dict[str, Any] = {"input": dict(sound) if isinstance(sound, dict) else {}}
    for flat, name in BETA_GROUPS.items():
        if flat in session:
            result["input"][name] = session[flat]
    form = result["input"].get("format")
    if isinstance(form, str):
        result["input"]["format"] = {"type": BETA_FORMATS.get(form, form)}
    if "include" in session:
        result["include"] = session["include"]
    return result


def shown(
    config: SessionConfig, stream: Stream, dialect: Name, *, is_transcription: bool = True
) -> dict[str, Any]:
    """The effective session as events and answers show it.

    is_transcription: which of the beta's two kinds it is.
    """
    if dialect == "beta":
        return _flat(config, stream, is_transcription=is_transcription)
    sound = config.input.model_dump(exclude={"transcription"})
    sound["transcription"] = _transcription(config)
    return {
        "id": stream.id,
        "object": "realtime.transcription_session",
        "type": "transcription",
        "expires_at": stream.expires_at,
        "include": config.include,
        "audio": {"input": sound},
    }


def _flat(config: SessionConfig, stream: Stream, *, is_transcription: bool) -> dict[str, Any]:
    formats = {new: old for old, new in BETA_FORMATS.items()}
    sound = config.input.model_dump()
    return {
        "id": stream.id,
        "object": "realtime.transcription_session" if is_transcription else "realtime.session",
        "expires_at": stream.expires_at,
        "modalities": ["text"],
        "include": config.include,
        "input_audio_format": formats[config.input.format.type],
        "input_audio_transcription": _transcription(config),
        "input_audio_noise_reduction": sound["noise_reduction"],
        "turn_detection": sound["turn_detection"],
        "client_secret": None,
    }


def _transcription(config: SessionConfig) -> dict[str, Any]:
    """With what OpenAI always shows, and what the client has set besides."""
    asked = config.input.transcription
    always = {"model": asked.model, "language": asked.language, "prompt": asked.prompt}
    return always | asked.model_dump(exclude_none=True)
