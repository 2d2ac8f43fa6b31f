"""When to send a request again and after how long; pure, so that a table can test it.

The back-off is "equal jitter" (AWS Architecture Blog, "Exponential Backoff And Jitter", 2015): half of the
exponential ceiling is certain, half is random, so that clients which failed together do not return together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

TIMEOUT = "timeout"
CONNECTION = "connection"
WORKER_DIED = "worker died"
HTTP_507 = "http 507"
# 503 and 507 are TorchServe's (queue full, worker killed, out of memory); the others come from what stands
# in front of it: 429 a rate limit, 502 and 504 a proxy that lost its server
RETRIED_STATUSES = (429, 502, 503, 504, 507)
WORKER_CAUSES = (WORKER_DIED, HTTP_507)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Bounds of patience; the defaults outlast a worker's restart and a small checkpoint's load."""

    retries: int = 6  # requests after the first
    worker_retries: int = 3  # of these, after a worker died: a file that kills workers must not kill seven
    base_s: float = 0.5  # ceiling of the first wait
    cap_s: float = 15.0  # ceiling of any wait
    max_retry_after_s: float = 120.0  # a longer wish is reported to the caller instead

    def wait_s(self, causes: Sequence[str], retry_after_s: float | None, fraction: float) -> float | None:
        """Seconds to wait before the next try, None to give up.

        `causes` are the reasons of all failed tries so far, `retry_after_s` is what the last answer asked
        for, `fraction` is a random number in [0, 1).
        """
        died = sum(cause in WORKER_CAUSES for cause in causes)
        if len(causes) > self.retries or died > self.worker_retries:
            return None
        if retry_after_s is not None:
            if retry_after_s > self.max_retry_after_s:
                return None
            return retry_after_s + fraction * self.base_s
        ceiling = min(self.cap_s, self.base_s * 2.0 ** min(len(causes) - 1, 60))
        return ceiling * (0.5 + 0.5 * fraction)


def retry_cause(status: int, body: bytes) -> str | None:
    """Why an answer deserves another try; None where it is final.

    TorchServe answers 500 "Worker died." to requests that were in a worker's batch when it went; any other
    500 is this request's own fault and would fail again.
    """
    if status in RETRIED_STATUSES:
        return f"http {status}"
    if status == 500 and b"worker died" in body.lower():
        return WORKER_DIED
    return None


def parse_retry_after(header: str | None, now: datetime) -> float | None:
    """Seconds that a Retry-After header asks for (RFC 9110, 10.2.3: seconds or a date), None if unusable."""
    if header is None:
        return None
    text = header.strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    if moment.tzinfo is None:  # "-0000" parses as naive; HTTP dates are UTC
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - now).total_seconds())
