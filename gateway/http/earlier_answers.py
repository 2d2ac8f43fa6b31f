"""The answers to requests with an Idempotency-Key: one that comes again is not decoded again."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateway.api_errors import KeyReused

OVERHEAD_BYTES = 1_000  # of an answer's entry, beside its body


@dataclass(frozen=True, slots=True)
class Name:
    """By what a request that comes again is known."""

    caller: str
    path: str
    key: str  # the Idempotency-Key


@dataclass(frozen=True, slots=True)
class Answer:
    """A good answer."""

    body: bytes
    content_type: str


@dataclass(slots=True, eq=False)
class _Entry:
    digest: str
    under_way: asyncio.Lock = field(default_factory=asyncio.Lock)
    num_requests: int = 0  # that make the answer or wait for it
    answer: Answer | None = None
    expires_at: float = 0.0


class EarlierAnswers:
    """Answers in memory, the oldest of which go when they have too many bytes or are too old."""

    def __init__(self, max_bytes: int, kept_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_bytes = max_bytes
        self._kept_s = kept_s
        self._clock = clock
        self._entries: dict[Name, _Entry] = {}
        self._kept: deque[tuple[Name, _Entry]] = deque()  # those with an answer, the oldest first
        self._num_bytes = 0

    async def once(
        self, name: Name, digest: str, make: Callable[[], Awaitable[Answer]]
    ) -> tuple[Answer, bool]:
        """The answer, and whether the request had it before. Waits while the same request is under way; if
        that one fails or its client leaves, this one makes the answer. Raises KeyReused for another digest,
        and what `make` raises."""
        self._forget_old()
        entry = self._entries.setdefault(name, _Entry(digest))
        if entry.digest != digest:
            raise KeyReused(
                f"the Idempotency-Key {name.key!r} came with another request before", param="Idempotency-Key"
            )
        entry.num_requests += 1
        try:
            async with entry.under_way:
                if entry.answer is not None:
                    return entry.answer, True
                entry.answer = await make()
                self._keep(name, entry)
                return entry.answer, False
        finally:
            entry.num_requests -= 1
            if entry.answer is None and entry.num_requests == 0:
                del self._entries[name]

    def _keep(self, name: Name, entry: _Entry) -> None:
        entry.expires_at = self._clock() + self._kept_s
        self._kept.append((name, entry))
        self._num_bytes += _num_bytes(entry)
        self._forget_old()

    def _forget_old(self) -> None:
        while self._kept:
            name, entry = self._kept[0]
            if self._num_bytes <= self._max_bytes and self._clock() < entry.expires_at:
                return
            self._kept.popleft()
            self._num_bytes -= _num_bytes(entry)
            del self._entries[name]


def digest_of(fields: Mapping[str, Any], upload: Path) -> str:
    """SHA-256 of what a request asks for. Reads the upload: blocks."""
    with upload.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
    digest.update(json.dumps(fields, sort_keys=True, default=str).encode())
    return digest.hexdigest()


def _num_bytes(entry: _Entry) -> int:
    assert entry.answer is not None
    return OVERHEAD_BYTES + len(entry.answer.body)
