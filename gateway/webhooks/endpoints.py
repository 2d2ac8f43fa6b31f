"""The endpoints that callers register."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from gateway.api_errors import GatewayError, NotFound
from gateway.job_rows import Page, Rows, is_id, new_id, page_of
from gateway.webhooks.signing import SigningKey, hint
from gateway.webhooks.tables import DELIVERIES, ENDPOINTS

EVENT_TYPES = ("batch.completed", "batch.failed", "batch.expired", "batch.cancelled")
OLD_SECRET_S = 24 * 3_600.0  # the old secret signs for this time after a rotation that keeps it


class EndpointNotFound(NotFound):
    code = "webhook_endpoint_not_found"


class TooManyEndpoints(GatewayError):
    """Waiting does not help: the caller deletes one first."""

    status = 400
    type = "invalid_request_error"
    code = "too_many_webhook_endpoints"


class Endpoints:
    """The rows of all callers. Every method blocks: call it in a thread. A caller sees its own rows only."""

    def __init__(
        self,
        engine: sa.Engine,
        signing_key: SigningKey,
        max_per_key: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._engine = engine
        self._signing_key = signing_key
        self._max_per_key = max_per_key
        self._clock = clock

    def create(self, key: str, name: str, url: str, event_types: Sequence[str]) -> sa.Row[Any]:
        """The new endpoint; raises TooManyEndpoints."""
        endpoint_id, now = new_id("we_"), self._clock()
        with self._engine.begin() as connection:
            connection.execute(
                sa.insert(ENDPOINTS).values(
                    id=endpoint_id,
                    key=key,
                    serial=time.time_ns(),
                    listed=True,
                    name=name,
                    url=url,
                    event_types=list(event_types),
                    created_at=now,
                    updated_at=now,
                    signing_key=self._signing_key.fingerprint,
                )
            )
            count = sa.select(sa.func.count()).where(ENDPOINTS.c.key == key, ENDPOINTS.c.listed)
            if connection.execute(count).scalar_one() > self._max_per_key:
                raise TooManyEndpoints(f"a key may have {self._max_per_key} webhook endpoints; delete one")
            return _row_of(connection, key, endpoint_id)

    def get(self, key: str, endpoint_id: str) -> sa.Row[Any]:
        """One endpoint; raises EndpointNotFound."""
        with self._engine.connect() as connection:
            return _row_of(connection, key, endpoint_id)

    def page(self, key: str, after: str | None, limit: int) -> Rows:
        """The endpoints after the one with this id; raises InvalidOption for a wrong one."""
        with self._engine.connect() as connection:
            return page_of(connection, sa.select(ENDPOINTS), ENDPOINTS, _own(key), Page(after, limit))

    def update(self, key: str, endpoint_id: str, changes: Mapping[str, Any]) -> sa.Row[Any]:
        """The endpoint with new values of `name`, `url` and `event_types`. A URL, be it the old one, enables
        a disabled endpoint. Raises EndpointNotFound."""
        with self._engine.begin() as connection:
            row = _row_of(connection, key, endpoint_id)
            values: dict[str, Any] = dict(changes)
            if any(getattr(row, name) != value for name, value in changes.items()):
                values["updated_at"] = self._clock()
            if "url" in changes:
                values["disabled_at"] = None
            if values:
                connection.execute(sa.update(ENDPOINTS).where(ENDPOINTS.c.id == endpoint_id).values(**values))
            return _row_of(connection, key, endpoint_id)

    def rotate(self, key: str, endpoint_id: str, *, keep_old: bool) -> sa.Row[Any]:
        """The endpoint with a new secret.

        keep_old: the old secret signs too, for OLD_SECRET_S. Raises EndpointNotFound.
        """
        now = self._clock()
        with self._engine.begin() as connection:
            connection.execute(
                sa.update(ENDPOINTS)
                .where(*_own(key), ENDPOINTS.c.id == endpoint_id)
                .values(
                    secret_version=ENDPOINTS.c.secret_version + 1,
                    old_secret_until=now + OLD_SECRET_S if keep_old else 0.0,
                    updated_at=now,
                    signing_key=self._signing_key.fingerprint,
                )
            )
            return _row_of(connection, key, endpoint_id)

    def delete(self, key: str, endpoint_id: str) -> None:
        """Removes the endpoint and its deliveries; raises EndpointNotFound."""
        with self._engine.begin() as connection:
            _row_of(connection, key, endpoint_id)
            connection.execute(sa.delete(DELIVERIES).where(DELIVERIES.c.endpoint_id == endpoint_id))
            connection.execute(sa.delete(ENDPOINTS).where(ENDPOINTS.c.id == endpoint_id))

    def secret(self, row: sa.Row[Any]) -> str:
        """The endpoint's secret."""
        return self._signing_key.endpoint_secret(row.id, row.secret_version)

    def shown(self, row: sa.Row[Any], *, with_secret: bool = False) -> dict[str, Any]:
        """OpenAI's WebhookEndpoint, with `disabled_at` besides."""
        secret = self.secret(row)
        return {
            "id": row.id,
            "object": "webhook_endpoint",
            "created_at": int(row.created_at),
            "updated_at": int(row.updated_at),
            "name": row.name,
            "url": row.url,
            "event_types": row.event_types,
            "signing_secret_hint": hint(secret),
            "disabled_at": None if row.disabled_at is None else int(row.disabled_at),
            **({"signing_secret": secret} if with_secret else {}),
        }


def _own(key: str) -> tuple[sa.ColumnElement[bool], ...]:
    return (ENDPOINTS.c.key == key, ENDPOINTS.c.listed)


def _row_of(connection: sa.Connection, key: str, endpoint_id: str) -> sa.Row[Any]:
    query = sa.select(ENDPOINTS).where(*_own(key), ENDPOINTS.c.id == endpoint_id)
    row = connection.execute(query).one_or_none() if is_id(endpoint_id) else None
    if row is None:
        raise EndpointNotFound(f"there is no webhook endpoint {endpoint_id[:80]!r}")
    return row
