"""What became of each event at each endpoint, and sending one again."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import sqlalchemy as sa

from gateway.api_errors import GatewayError, NotFound
from gateway.job_rows import Page, Rows, is_id, page_of
from gateway.webhooks.endpoints import Endpoints
from gateway.webhooks.tables import DELIVERIES, ENDPOINTS, EVENTS

QUERY = sa.select(DELIVERIES, EVENTS.c.type.label("event_type"), EVENTS.c.created_at.label("event_at")).join(
    EVENTS, EVENTS.c.id == DELIVERIES.c.event_id
)


class DeliveryNotFound(NotFound):
    code = "webhook_delivery_not_found"


class EndpointDisabled(GatewayError):
    status = 409
    type = "invalid_request_error"
    code = "webhook_endpoint_disabled"

    @property
    def headers(self) -> dict[str, str]:
        return {"x-should-retry": "false"}  # OpenAI's clients retry a 409 otherwise


class DeliveryLog:
    """The deliveries of an endpoint. Every method blocks: call it in a thread."""

    def __init__(
        self,
        engine: sa.Engine,
        endpoints: Endpoints,
        keep_s: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._engine = engine
        self._endpoints = endpoints
        self._keep_s = keep_s
        self._clock = clock

    def page(self, key: str, endpoint_id: str, after: str | None, limit: int) -> Rows:
        """The newest deliveries; raises EndpointNotFound, or InvalidOption for a wrong `after`."""
        self._endpoints.get(key, endpoint_id)
        with self._engine.connect() as connection:
            return page_of(connection, QUERY, DELIVERIES, _of(endpoint_id), Page(after, limit))

    def redeliver(self, key: str, endpoint_id: str, delivery_id: str) -> sa.Row[Any]:
        """The delivery, due now and with a whole schedule before it; raises EndpointNotFound,
        DeliveryNotFound or EndpointDisabled."""
        if self._endpoints.get(key, endpoint_id).disabled_at is not None:
            raise EndpointDisabled("the endpoint is disabled; update its url to enable it")
        where = (*_of(endpoint_id), DELIVERIES.c.id == delivery_id)
        values = {"status": "pending", "tries": 0, "next_at": self._clock(), "finished_at": None}
        with self._engine.begin() as connection:
            if is_id(delivery_id):
                connection.execute(sa.update(DELIVERIES).where(*where).values(**values))
                row = connection.execute(QUERY.where(*where)).one_or_none()
                if row is not None:
                    return row
        raise DeliveryNotFound(f"there is no delivery {delivery_id[:80]!r} of this endpoint")

    def remove_old(self) -> None:
        """Deletes deliveries that ended too long ago, events without a delivery, and URLs of old jobs."""
        before = self._clock() - self._keep_s
        has_delivery = sa.exists().where(DELIVERIES.c.event_id == EVENTS.c.id)
        is_in_use = sa.exists().where(DELIVERIES.c.endpoint_id == ENDPOINTS.c.id)
        with self._engine.begin() as connection:
            connection.execute(sa.delete(DELIVERIES).where(DELIVERIES.c.finished_at < before))
            connection.execute(sa.delete(EVENTS).where(EVENTS.c.created_at < before, ~has_delivery))
            old_urls = (~ENDPOINTS.c.listed, ENDPOINTS.c.created_at < before, ~is_in_use)
            connection.execute(sa.delete(ENDPOINTS).where(*old_urls))


def shown_delivery(row: sa.Row[Any]) -> dict[str, Any]:
    """One delivery as the log shows it."""
    return {
        "id": row.id,
        "object": "webhook_endpoint.delivery",
        "webhook_endpoint_id": row.endpoint_id,
        "event_id": row.event_id,
        "event_type": row.event_type,
        "status": row.status,
        "attempts": row.attempts,
        "next_attempt_at": int(row.next_at) if row.status == "pending" else None,
        "created_at": int(row.created_at),
        "finished_at": None if row.finished_at is None else int(row.finished_at),
    }


def _of(endpoint_id: str) -> Sequence[sa.ColumnElement[bool]]:
    return (DELIVERIES.c.endpoint_id == endpoint_id,)
