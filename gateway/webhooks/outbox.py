"""Events, written in the transaction that makes them happen, each with its deliveries."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from gateway.job_rows import new_id
from gateway.webhooks.signing import SigningKey
from gateway.webhooks.tables import DELIVERIES, ENDPOINTS, EVENTS


class Outbox:
    """Where the end of a job is written down."""

    def __init__(
        self,
        signing_key: SigningKey,
        wake: Callable[[], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """wake: tells the deliverer that there may be something to do; called from any thread."""
        self._signing_key = signing_key
        self._wake = wake
        self._clock = clock

    def record_event(
        self,
        connection: sa.Connection,
        key: str,
        type: str,
        data: Mapping[str, Any],
        webhook_url: str | None = None,
    ) -> None:
        """Writes the event, and a delivery for each of the caller's endpoints that asked for its type and one
        for the job's own URL, in the transaction of what happened: neither exists without the other. With
        no receiver there is nothing to write.

        key: the caller's name. type: `batch.completed` and so on.
        """
        now = self._clock()
        mine = (
            sa.select(ENDPOINTS.c.id, ENDPOINTS.c.event_types)
            .where(ENDPOINTS.c.key == key, ENDPOINTS.c.listed, ENDPOINTS.c.disabled_at.is_(None))
            .with_for_update(read=True, key_share=True)  # PostgreSQL: none is deleted before the commit
        )
        receivers = [row.id for row in connection.execute(mine) if type in row.event_types]
        if webhook_url is not None:
            receivers.append(self._job_url(connection, key, webhook_url, now))
        if not receivers:
            return
        event_id = new_id("evt_")
        body = event_body(event_id, type, now, data)
        connection.execute(sa.insert(EVENTS).values(id=event_id, type=type, created_at=now, body=body))
        deliveries = [_delivery(event_id, receiver, now) for receiver in receivers]
        connection.execute(sa.insert(DELIVERIES), deliveries)
        self._wake()

    def _job_url(self, connection: sa.Connection, key: str, url: str, now: float) -> str:
        """The id of the unlisted endpoint for this URL, which is made if need be."""
        endpoint_id = "job_" + hashlib.sha256(f"{key}\n{url}".encode()).hexdigest()[:32]
        insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
        values = {
            "id": endpoint_id,
            "key": key,
            "serial": time.time_ns(),
            "listed": False,
            "name": "",
            "url": url,
            "event_types": [],
            "created_at": now,
            "updated_at": now,
            "signing_key": self._signing_key.fingerprint,
        }
        connection.execute(insert(ENDPOINTS).values(**values).on_conflict_do_nothing())
        return endpoint_id


def _delivery(event_id: str, endpoint_id: str, now: float) -> dict[str, Any]:
    return {
        "id": new_id("whd_"),
        "serial": time.time_ns(),
        "event_id": event_id,
        "endpoint_id": endpoint_id,
        "status": "pending",
        "next_at": now,
        "attempts": [],
        "created_at": now,
    }


def event_body(event_id: str, type: str, created_at: float, data: Mapping[str, Any]) -> str:
    """OpenAI's event as the text that is signed and sent."""
    event = {"id": event_id, "object": "event", "type": type, "created_at": int(created_at), "data": data}
    return json.dumps(event, separators=(",", ":"))
