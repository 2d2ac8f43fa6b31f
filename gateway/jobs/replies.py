"""A request that comes twice is answered once: by its Idempotency-Key, or as the retry of OpenAI's clients.

Those send no such key, yet repeat a POST whose answer was lost, and count in `x-stainless-retry-count`.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from gateway.api_errors import KeyReused
from gateway.job_rows import now
from gateway.jobs.tables import REPLIES

RETRY_WINDOW_S = 120  # a client gives up sooner
KEPT_S = 86_400  # an Idempotency-Key is known for this time


@dataclass(frozen=True, slots=True)
class Asked:
    """Who asks for what, and how the same request is recognised."""

    key: str  # the caller's name
    path: str
    idempotency_key: str | None = None
    is_retry: bool = False  # the client says that it has sent the request before


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to a request that made something, or that was sent again."""

    body: dict[str, Any]
    is_replayed: bool = False


def digest_of(*parts: object) -> str:
    """SHA-256 of what a request asks for."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def earlier_reply(connection: sa.Connection, asked: Asked, digest: str) -> Reply | None:
    """The answer that the same request had before; raises KeyReused if its key came with another one."""
    if asked.idempotency_key is None:
        return None
    row = connection.execute(
        sa.select(REPLIES).where(
            REPLIES.c.key == asked.key,
            REPLIES.c.path == asked.path,
            REPLIES.c.name == asked.idempotency_key,
            REPLIES.c.created_at > now() - KEPT_S,
        )
    ).one_or_none()
    if row is None:
        return None
    if row.digest != digest:
        raise KeyReused(
            f"the Idempotency-Key {asked.idempotency_key!r} came with another request before",
            param="Idempotency-Key",
        )
    return Reply(row.body, is_replayed=True)


def remember(connection: sa.Connection, asked: Asked, digest: str, body: dict[str, Any]) -> Reply:
    """The answer, written down for a request that comes again."""
    if asked.idempotency_key is not None:
        same = (REPLIES.c.key == asked.key, REPLIES.c.path == asked.path)
        connection.execute(sa.delete(REPLIES).where(*same, REPLIES.c.name == asked.idempotency_key))
        connection.execute(
            sa.insert(REPLIES).values(
                key=asked.key,
                path=asked.path,
                name=asked.idempotency_key,
                digest=digest,
                body=body,
                created_at=now(),
            )
        )
    return Reply(body)
