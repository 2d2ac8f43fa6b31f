"""Names and times of the jobs' things."""

from __future__ import annotations

import time
import uuid


def new_id(kind: str) -> str:
    """A name that nobody guesses: `file-…`, `batch_…`."""
    return f"{kind}{uuid.uuid4().hex}"


def now() -> int:
    """Unix seconds."""
    return int(time.time())


def serial() -> int:
    """Where a new row stands among the others by age."""
    return time.time_ns()
