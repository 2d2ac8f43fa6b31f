"""A recording sent whole: its text, how long the answer took, and how much sound there was."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whisper_client.client import WhisperClient


@dataclass(frozen=True, slots=True)
class Uploaded:
    """One recording's answer."""

    text: str
    latency_s: float  # from the request to the answer, with all tries
    audio_s: float  # whole seconds, rounded up; 0 where the server does not say


def uploaded(client: WhisperClient, path: Path, **options: Any) -> Uploaded:
    """Sends a recording; raises what `WhisperClient.transcribe` and `Reply.raise_for_status` raise."""
    reply = client.transcribe(path, response_format="json", **options).raise_for_status()
    usage = (reply.document or {}).get("usage")
    return Uploaded(reply.text, reply.seconds, usage.get("seconds", 0.0) if isinstance(usage, dict) else 0.0)


def real_time_factor(uploads: Mapping[str, Uploaded]) -> float | None:
    """Seconds of waiting per second of sound; None where the sound is not known."""
    audio_s = sum(one.audio_s for one in uploads.values())
    return sum(one.latency_s for one in uploads.values()) / audio_s if audio_s else None
