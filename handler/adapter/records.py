"""What is remembered of one finished request, for the log line and the metrics."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """One request's cost and outcome. Seconds are wall-clock, except the engine's: its windows' shares."""

    request_id: str
    kind: str  # "file" | "windows" | "healthz" | "model" | "unread"
    status: int
    error_code: str | None = None
    error_param: str | None = None
    upload_bytes: int = 0

    container: str | None = None
    codec: str | None = None
    sample_rate: int | None = None  # Hz, as found
    channels: int | None = None
    bad_packets: int = 0
    audio_s: float = 0.0

    language: str | None = None
    task: str | None = None
    response_format: str | None = None
    stream: bool = False
    long_form: str | None = None
    windows: int = 0  # decoded, every temperature counted
    silent_windows: int = 0
    fallbacks: tuple[tuple[str, int], ...] = ()

    queue_s: float | None = None  # before the worker saw it; known only if the caller sent X-Request-Start
    wall_s: float = 0.0  # from the worker's first sight of it to its reply
    first_segment_s: float | None = None  # to the first event of a stream that had one before its end
    stage_seconds: tuple[tuple[str, float], ...] = ()  # media, vad, features, encode, decode, words, render
    text: str | None = None  # only under log_text

    @property
    def rtf(self) -> float | None:
        """Wall seconds per second of audio; None where there was no audio."""
        return self.wall_s / self.audio_s if self.audio_s > 0 else None
