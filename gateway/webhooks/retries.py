"""When a delivery is tried again, and when it is given up: Standard Webhooks' example schedule, 75 hours."""

from __future__ import annotations

from dataclasses import dataclass
from email.utils import parsedate_to_datetime

HOUR_S = 3_600.0
DELAYS_S = (
    0.0,
    5.0,
    300.0,
    1_800.0,
    *(hours * HOUR_S for hours in (2, 5, 10, 14, 20, 24)),
)  # before each try
MAX_TRIES = len(DELAYS_S)
JITTER = 0.2  # of a delay, either way: receivers that failed together do not come back together
GONE = 410
PATIENT = frozenset({429, 502, 503, 504})  # their Retry-After counts
MAX_RETRY_AFTER_S = 24 * HOUR_S


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an attempt met."""

    status_code: int | None  # None: no answer
    error: str | None = None  # why there was none
    retry_after_s: float | None = None

    @property
    def is_delivered(self) -> bool:
        return self.status_code is not None and 200 <= self.status_code < 300


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of the delivery after an attempt."""

    status: str  # delivered, pending, failed
    next_in_s: float = 0.0  # of a pending one
    disables: bool = False  # its endpoint


def verdict(tries: int, outcome: Outcome, chance: float) -> Verdict:
    """What follows from the last of `tries` attempts.

    chance: 0..1, draws the jitter.
    """
    if outcome.is_delivered:
        return Verdict("delivered")
    if outcome.status_code == GONE:
        return Verdict("failed", disables=True)
    if tries >= MAX_TRIES:
        return Verdict("failed")
    delay_s = DELAYS_S[tries] * (1 + JITTER * (2 * chance - 1))
    if outcome.status_code in PATIENT and outcome.retry_after_s is not None:
        delay_s = max(delay_s, min(outcome.retry_after_s, MAX_RETRY_AFTER_S))
    return Verdict("pending", next_in_s=delay_s)


def retry_after_s(header: str | None, now: float) -> float | None:
    """The seconds that a Retry-After header asks for; None if it says nothing of use."""
    text = (header or "").strip()
    if text.isascii() and text.isdecimal():
        return float(text[:12])
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now)
    except (ValueError, TypeError, OverflowError):
        return None
