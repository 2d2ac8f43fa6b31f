"""What happens to batches, for those who asked to be told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import sqlalchemy as sa


class Events(Protocol):
    """Where the end of a batch is written down."""

    def record_event(
        self,
        connection: sa.Connection,
        key: str,
        type: str,
        data: Mapping[str, Any],
        webhook_url: str | None = None,
    ) -> None:
        """Writes the event in the transaction that ends the batch, so that neither exists without the other.

        key: the name of the batch's caller. type: `batch.completed` and so on. webhook_url: a receiver of
        this event alone.
        """
        ...


class NoEvents:
    """Nobody listens."""

    def record_event(
        self,
        connection: sa.Connection,
        key: str,
        type: str,
        data: Mapping[str, Any],
        webhook_url: str | None = None,
    ) -> None:
        return None
