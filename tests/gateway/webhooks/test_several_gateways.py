"""Deliveries when a gateway is killed or frozen, has company, or loses its database."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest
import sqlalchemy as sa

from gateway.webhooks.claims import LEASE_S
from tests.gateway.webhooks.conftest import Clock, OpenSite, Site
from tests.gateway.webhooks.receivers import Receiver, arrived, until


async def test_what_is_pending_survives_a_kill(open_site: OpenSite, receiver: Receiver) -> None:
    """The first gateway dies in the middle of an attempt; the next one on the same file begins at once."""
    first = open_site()
    endpoint_id, _ = first.endpoint(receiver)
    first.record()
    assert len(first.webhooks._claims.take(first.clock.now, 1, {}, 1)) == 1  # … and then falls silent
    second = open_site(first.engine)
    await second.webhooks.start()
    try:
        await arrived(receiver, 1)
    finally:
        await second.webhooks.close()
    assert second.log(endpoint_id)[0].status == "delivered"


async def test_the_running_task_is_woken_by_an_event(open_site: OpenSite, receiver: Receiver) -> None:
    site = open_site()
    endpoint_id, _ = site.endpoint(receiver)
    await site.webhooks.start()
    try:
        await asyncio.to_thread(site.record)
        await arrived(receiver, 1)
    finally:
        await site.webhooks.close()
    assert site.log(endpoint_id)[0].status == "delivered"


async def test_a_stop_in_the_middle_of_an_attempt_gives_the_endpoint_back(
    open_site: OpenSite, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.webhooks.deliverer.LEAVE_S", 0.05)
    site = open_site()
    endpoint_id, _ = site.endpoint(receiver)

    has_ended = threading.Event()
    receiver.answer = lambda _: (200 if has_ended.wait(60) else 500, {})
    site.record()
    await site.webhooks.deliverer.start_due()
    await site.webhooks.close()
    has_ended.set()
    assert site.log(endpoint_id)[0].status == "pending"
    assert await open_site(site.engine).deliver() == 1  # its endpoint is free


async def test_two_gateways_deliver_each_event_once(
    either_engine: sa.Engine, open_site: OpenSite, receiver: Receiver
) -> None:
    sites = [open_site(either_engine), open_site(either_engine)]
    for _ in range(3):
        sites[0].endpoint(receiver)
    for _ in range(8):
        sites[0].record()
    done = await asyncio.gather(*(exhausted(site) for site in sites))
    assert sum(done) == 24
    counts = {name: receiver.ids.count(name) for name in receiver.ids}
    assert set(counts.values()) == {3} and len(counts) == 8
    assert receiver.most_at_once <= 3


async def test_a_gateway_that_was_away_too_long_does_not_write_over_the_other(
    either_engine: sa.Engine, open_site: OpenSite, receiver: Receiver
) -> None:
    clock = Clock()
    frozen, alive = open_site(either_engine, clock), open_site(either_engine, clock)
    endpoint_id, _ = alive.endpoint(receiver)
    alive.record()
    (claim,) = frozen.webhooks._claims.take(clock.now, 1, {}, 1)
    assert await alive.deliver() == 0  # it is the other's
    clock.now += LEASE_S + 1
    assert await alive.deliver() == 1
    await frozen.webhooks.deliverer._attempt(claim)
    (row,) = alive.log(endpoint_id)
    assert (row.status, len(row.attempts)) == ("delivered", 1)


async def test_the_database_is_away_for_a_moment(
    open_site: OpenSite, receiver: Receiver, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    site = open_site()
    site.endpoint(receiver)
    site.record()
    path = tmp_path / "jobs.sqlite"
    with site.engine.begin() as connection:
        connection.execute(sa.text("ALTER TABLE webhook_deliveries RENAME TO away"))
    running = asyncio.create_task(site.webhooks.deliverer.run())
    await asyncio.to_thread(until, lambda: "webhooks wait until this has passed" in caplog.text)
    with site.engine.begin() as connection:
        connection.execute(sa.text("ALTER TABLE away RENAME TO webhook_deliveries"))
    site.webhooks.deliverer.wake()
    await arrived(receiver, 1)
    running.cancel()
    await site.webhooks.deliverer.stop()
    assert caplog.text.count("webhooks wait until this has passed") == 1 and path.exists()


async def exhausted(site: Site) -> int:
    """The number of attempts until neither this gateway nor another one has anything left."""
    total = 0
    while True:
        total += await site.deliver()
        if site.webhooks._claims.waiting(site.clock.now)[0] == 0:
            return total
        await asyncio.sleep(0.01)
