"""Who sent a request: what the access layer knows and the dispatcher and the limits act on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Caller:
    """One API key's owner; without keys, everybody on loopback is the same caller."""

    name: str = "local"  # fit for logs and metric labels
    weight: float = 1.0  # share of the windows when the server is full
    models: tuple[str, ...] = ()  # allowed model names; empty: all
    requests_per_minute: int | None = None  # None: no limit
    audio_seconds_per_minute: float | None = None
    address: str = ""  # the client's IP address


LOCAL = Caller()
