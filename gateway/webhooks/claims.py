"""Due deliveries, handed out one per endpoint, under a lease that ends by itself if its gateway dies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from gateway.job_rows import new_id
from gateway.webhooks.retries import Outcome, verdict
from gateway.webhooks.tables import DELIVERIES, ENDPOINTS, EVENTS

LEASE_S = 60.0  # longer than any attempt; a killed gateway's attempt is repeated after it
MAX_CANDIDATES = 1_000  # read at once
MAX_LOGGED = 50  # attempts in a delivery's log; redeliveries add to them


@dataclass(frozen=True, slots=True)
class Claim:
    """A delivery that this gateway attempts now."""

    lease: str
    delivery_id: str
    tries: int  # before this one
    attempts: list[dict[str, Any]]
    event_id: str
    body: str
    endpoint: sa.Row[Any]


class Claims:
    """The queue of deliveries. Every method blocks: call it in a thread."""

    def __init__(self, engine: sa.Engine, chance: Callable[[], float]) -> None:
        self._engine = engine
        self._chance = chance

    def take(self, now: float, room: int, running: Mapping[str, int], max_per_key: int) -> list[Claim]:
        """At most `room` due deliveries, the oldest first, each of another endpoint.

        running: attempts of each key at work, of which there are at most `max_per_key`.
        """
        per_key = Counter(running)
        claims: list[Claim] = []
        full = [key for key, number in running.items() if number >= max_per_key]
        for endpoint_id, key in self._candidates(now, full):
            if len(claims) >= room:
                break
            if per_key[key] < max_per_key and (claim := self._lease(endpoint_id, now)) is not None:
                per_key[key] += 1
                claims.append(claim)
        return claims

    def finish(self, claim: Claim, outcome: Outcome, began: float, now: float) -> str | None:
        """Writes what the attempt met and gives the endpoint back; returns the delivery's status, or None if
        the lease had ended and another gateway has the delivery."""
        tries = claim.tries + 1
        follows = verdict(tries, outcome, self._chance())
        disables = follows.disables and claim.endpoint.listed
        attempt = {
            "at": int(began),
            "seconds": round(now - began, 3),
            "status_code": outcome.status_code,
            "error": outcome.error,
        }
        with self._engine.begin() as connection:
            if not self._return(connection, claim, **({"disabled_at": now} if disables else {})):
                return None
            connection.execute(
                sa.update(DELIVERIES)
                .where(DELIVERIES.c.id == claim.delivery_id)
                .values(
                    status=follows.status,
                    tries=tries,
                    next_at=now + follows.next_in_s,
                    attempts=[*claim.attempts, attempt][-MAX_LOGGED:],
                    finished_at=None if follows.status == "pending" else now,
                )
            )
            if disables:
                connection.execute(
                    sa.update(DELIVERIES)
                    .where(DELIVERIES.c.endpoint_id == claim.endpoint.id, DELIVERIES.c.status == "pending")
                    .values(status="failed", finished_at=now)
                )
        return follows.status

    def abandon(self, claim: Claim) -> None:
        """Gives the endpoint back without an attempt: the gateway is going down."""
        with self._engine.begin() as connection:
            self._return(connection, claim)

    def release_all(self) -> None:
        """Ends every lease; for a gateway that is alone, whose predecessor was killed."""
        with self._engine.begin() as connection:
            connection.execute(sa.update(ENDPOINTS).values(lease=None, lease_until=0.0))

    def waiting(self, now: float) -> tuple[int, float]:
        """The number of pending deliveries, and for how many seconds the first of them is due."""
        query = sa.select(sa.func.count(), sa.func.min(DELIVERIES.c.next_at))
        with self._engine.connect() as connection:
            row = connection.execute(query.where(DELIVERIES.c.status == "pending")).one()
        return row[0], max(0.0, now - row[1]) if row[0] else 0.0

    def _candidates(self, now: float, without_keys: Collection[str]) -> list[tuple[str, str]]:
        """Endpoints with something due, and their keys."""
        due = sa.func.min(DELIVERIES.c.next_at)
        query = (
            sa.select(ENDPOINTS.c.id, ENDPOINTS.c.key)
            .join(DELIVERIES, DELIVERIES.c.endpoint_id == ENDPOINTS.c.id)
            .where(
                DELIVERIES.c.status == "pending",
                DELIVERIES.c.next_at <= now,
                ENDPOINTS.c.lease_until <= now,
                ENDPOINTS.c.key.not_in(without_keys),
            )
            .group_by(ENDPOINTS.c.id, ENDPOINTS.c.key)
            .order_by(due)
            .limit(MAX_CANDIDATES)
        )
        with self._engine.connect() as connection:
            return [(row.id, row.key) for row in connection.execute(query)]

    def _lease(self, endpoint_id: str, now: float) -> Claim | None:
        """The endpoint's first due delivery; None if another gateway was quicker."""
        lease = new_id("lease_")
        with self._engine.begin() as connection:
            update = connection.execute(
                sa.update(ENDPOINTS)
                .where(ENDPOINTS.c.id == endpoint_id, ENDPOINTS.c.lease_until <= now)
                .values(lease=lease, lease_until=now + LEASE_S)
            )
            if update.rowcount != 1:
                return None
            endpoint = connection.execute(sa.select(ENDPOINTS).where(ENDPOINTS.c.id == endpoint_id)).one()
            row = connection.execute(
                sa.select(DELIVERIES, EVENTS.c.body)
                .join(EVENTS, EVENTS.c.id == DELIVERIES.c.event_id)
                .where(
                    DELIVERIES.c.endpoint_id == endpoint_id,
                    DELIVERIES.c.status == "pending",
                    DELIVERIES.c.next_at <= now,
                )
                .order_by(DELIVERIES.c.next_at, DELIVERIES.c.serial)
                .limit(1)
            ).one_or_none()
            if row is None:
                connection.rollback()
                return None
        return Claim(lease, row.id, row.tries, row.attempts, row.event_id, row.body, endpoint)

    def _return(self, connection: sa.Connection, claim: Claim, **changes: float) -> bool:
        """Ends the lease; False if it has ended by itself."""
        update = connection.execute(
            sa.update(ENDPOINTS)
            .where(ENDPOINTS.c.id == claim.endpoint.id, ENDPOINTS.c.lease == claim.lease)
            .values(lease=None, lease_until=0.0, **changes)
        )
        return update.rowcount == 1
