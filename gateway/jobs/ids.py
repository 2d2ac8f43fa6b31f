"""Names and times of the jobs' things."""

from __future__ import annotations

import re
import time
import uuid

FORM = re.compile(r"[A-Za-z0-9_-]{1,64}")


def new_id(kind: str) -> str:
    """A name that nobody guesses: `file-…`, `batch_…`."""
    return f"{kind}{uuid.uuid4().hex}"


def is_id(text: str) -> bool:
    """Whether the text can be the name of something here; others are not looked up."""
    return FORM.fullmatch(text) is not None


def now() -> int:
    """Unix seconds."""
    return int(time.time())


def serial() -> int:
    """Where a new row stands among the others by age."""
    return time.time_ns()
