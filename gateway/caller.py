"""Who sent a request: the access layer finds out, the dispatcher and the limits act on it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Caller:
    """The owner of one API key. Without keys, every client is the same caller."""

    name: str = "local"  # safe for logs and metric labels
    weight: float = 1.0  # share of the windows under full load
    models: tuple[str, ...] = ()  # allowed model names; empty: all
    requests_per_minute: int | None = None  # None: no limit
    audio_seconds_per_minute: float | None = None
    may_load: bool = False  # may load and unload models
    address: str = ""  # the client's IP address


LOCAL = Caller()
