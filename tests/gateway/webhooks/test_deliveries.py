"""Deliveries with real receivers and a clock that is moved by hand."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import sqlalchemy as sa
from standardwebhooks import Webhook

from gateway.outbound.client import OutboundClient
from gateway.settings_outgoing import OutboundSettings
from gateway.webhooks.deliverer import OTHER_KEY
from gateway.webhooks.tables import DELIVERIES, ENDPOINTS, EVENTS
from tests.gateway.webhooks.conftest import DONE, KEY, Clock, OpenSite
from tests.gateway.webhooks.receivers import Receiver, arrived

HOUR_S = 3600.0
DAY_S = 24 * HOUR_S


def up_to_date() -> Clock:
    """A clock whose signatures verify now."""
    return Clock(time.time())


async def test_an_event_arrives_once_and_verifies(open_site: OpenSite, receiver: Receiver) -> None:
    site = open_site(clock=up_to_date())
    endpoint_id, secret = site.endpoint(receiver)
    site.record()
    site.record("batch.failed")  # nobody asked for it
    site.record(key="bob")  # not ours
    assert await site.deliver() == 1
    event = receiver.received[0].event(secret)
    assert (event["type"], event["data"]["id"]) == ("batch.completed", "batch_1")  # type: ignore[index]
    assert receiver.received[0].headers["User-Agent"] == "test/1"
    (row,) = site.log(endpoint_id)
    assert (row.status, row.event_id, len(row.attempts)) == ("delivered", receiver.ids[0], 1)
    assert site.metric("attempts_total", outcome="delivered") == 1
    assert site.metric("deliveries_total", outcome="delivered") == 1


async def test_the_event_is_in_the_transaction_of_what_happened(
    open_site: OpenSite, receiver: Receiver
) -> None:
    site = open_site()
    site.endpoint(receiver)
    with site.engine.begin() as connection:
        site.webhooks.outbox.record_event(connection, KEY, "batch.completed", DONE)
        connection.rollback()
    assert await site.deliver() == 0
    with site.engine.connect() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(EVENTS)).scalar_one() == 0


async def test_a_receiver_that_is_down_for_an_hour_gets_its_event(
    open_site: OpenSite, receiver: Receiver
) -> None:
    site = open_site(clock=up_to_date())
    endpoint_id, secret = site.endpoint(receiver)
    receiver.answer = lambda _: (500, {})
    site.record()
    await site.run_until(HOUR_S)
    assert len(receiver.received) == 4  # at once, after 5 s, 5 min and 30 min
    receiver.answer = lambda _: (200, {})
    await site.run_until(3 * HOUR_S)
    assert len(receiver.received) == 5
    assert len(set(receiver.ids)) == 1  # a receiver knows the event by it
    stamps = [int(received.headers["webhook-timestamp"]) for received in receiver.received]
    signatures = {received.headers["webhook-signature"] for received in receiver.received}
    assert sorted(set(stamps)) == stamps and len(signatures) == 5
    assert stamps[-1] - stamps[0] > HOUR_S
    Webhook(secret).verify(receiver.received[0].body, receiver.received[0].headers)
    (row,) = site.log(endpoint_id)
    assert [attempt["status_code"] for attempt in row.attempts] == [500, 500, 500, 500, 200]


async def test_a_receiver_that_never_comes_back_is_given_up_after_three_days(
    open_site: OpenSite, receiver: Receiver
) -> None:
    site = open_site()
    endpoint_id, _ = site.endpoint(receiver)
    receiver.answer = lambda _: (302, {"Location": f"{receiver.url}/elsewhere"})
    site.record()
    await site.run_until(4 * DAY_S, step_s=600)
    (row,) = site.log(endpoint_id)
    assert (row.status, len(row.attempts)) == ("failed", 10)
    assert {received.path for received in receiver.received} == {"/hook"}  # no redirect is followed
    assert 60 * HOUR_S < row.finished_at - row.created_at < 91 * HOUR_S
    assert site.metric("deliveries_total", outcome="failed") == 1
    assert site.metric("attempts_total", outcome="rejected") == 10


async def test_nobody_listens(open_site: OpenSite) -> None:
    site = open_site()
    with Receiver() as gone:
        endpoint_id, _ = site.endpoint(gone)
    site.record()
    await site.deliver()
    (row,) = site.log(endpoint_id)
    assert (row.status, row.attempts[0]["status_code"]) == ("pending", None)
    assert "took no connection" in row.attempts[0]["error"]
    assert site.metric("attempts_total", outcome="unreached") == 1
    site.clock.now += 100
    await site.webhooks.deliverer._measure()
    assert site.metric("pending") == 1
    assert 94 <= site.metric("overdue_seconds") <= 96  # it was due after 5 s


async def test_an_address_that_has_become_private_is_refused_at_the_attempt(
    open_site: OpenSite, receiver: Receiver
) -> None:
    site = open_site()
    endpoint_id, _ = site.endpoint(receiver)
    strict = OutboundClient(OutboundSettings(allow_http=True), "test/1", 1000)
    site.webhooks.deliverer._client = strict
    site.record()
    await site.deliver()
    strict.close()
    (row,) = site.log(endpoint_id)
    assert "does not connect to" in row.attempts[0]["error"]
    assert receiver.received == []


async def test_retry_after_is_waited_for(open_site: OpenSite, receiver: Receiver) -> None:
    site = open_site()
    site.endpoint(receiver)
    receiver.answer = lambda number: (503, {"Retry-After": "600"}) if number == 0 else (200, {})
    site.record()
    await site.run_until(590, step_s=10)
    assert len(receiver.received) == 1
    await site.run_until(20, step_s=10)
    assert len(receiver.received) == 2


async def test_410_disables_the_endpoint_until_its_url_is_set_again(
    open_site: OpenSite, receiver: Receiver
) -> None:
    site = open_site()
    endpoint_id, _ = site.endpoint(receiver)
    receiver.answer = lambda _: (410, {})
    site.record()
    site.record()
    await site.deliver()
    site.record()
    assert [row.status for row in site.log(endpoint_id)] == ["failed", "failed"]
    assert len(receiver.received) == 1 and await site.deliver() == 0
    receiver.answer = lambda _: (200, {})
    site.webhooks.endpoints.update(KEY, endpoint_id, {"url": receiver.url})
    site.record()
    await site.deliver()
    assert [row.status for row in site.log(endpoint_id)] == ["failed", "failed", "delivered"]


async def test_one_delivery_of_an_endpoint_at_a_time(open_site: OpenSite, receiver: Receiver) -> None:
    site = open_site()
    for _ in range(3):
        site.endpoint(receiver)

    def slowly(_: int) -> tuple[int, dict[str, str]]:
        time.sleep(0.02)
        return 200, {}

    receiver.answer = slowly
    for _ in range(4):
        site.record()
    assert await site.deliver() == 12
    assert receiver.most_at_once <= 3  # one for each endpoint
    assert len(set(receiver.ids)) == 4


async def test_a_key_with_slow_receivers_leaves_room_for_others(open_site: OpenSite) -> None:
    site = open_site(max_attempts_running=4)
    ours_is_there = threading.Event()

    def slowly(_: int) -> tuple[int, dict[str, str]]:
        return (200 if ours_is_there.wait(10) else 500), {}

    with Receiver(slowly) as slow, Receiver() as quick:
        for _ in range(6):
            site.endpoint(slow, key="mallory")
        site.record(key="mallory")
        site.clock.now += 1
        site.endpoint(quick)
        site.record()
        assert await site.webhooks.deliverer.start_due() == 3  # half of four, and ours
        await arrived(quick, 1)
        ours_is_there.set()
        await site.deliver()
        assert len(slow.received) == 6


async def test_a_jobs_own_url_gets_its_event_signed_with_the_callers_secret(
    open_site: OpenSite, receiver: Receiver, tmp_path: Path
) -> None:
    from gateway.webhooks.signing import read_signing_key

    site = open_site(clock=up_to_date())
    receiver.answer = lambda number: (410, {}) if number == 0 else (200, {})
    site.record(url=receiver.url)
    await site.deliver()
    site.record("batch.cancelled", url=receiver.url)  # 410 was about the job before
    await site.deliver()
    secret = read_signing_key(tmp_path / "webhook.key").caller_secret(KEY)
    assert [received.event(secret)["type"] for received in receiver.received] == [
        "batch.completed",
        "batch.cancelled",
    ]
    assert site.webhooks.endpoints.page(KEY, None, 20).rows == []  # nobody registered it


async def test_rotation_signs_with_both_secrets_for_a_day(open_site: OpenSite, receiver: Receiver) -> None:
    site = open_site(clock=up_to_date())
    endpoints = site.webhooks.endpoints
    endpoint_id, old = site.endpoint(receiver)
    new = endpoints.secret(endpoints.rotate(KEY, endpoint_id, keep_old=True))
    site.record()
    await site.deliver()
    assert receiver.received[0].event(new) == receiver.received[0].event(old)
    site.clock.now += DAY_S + 1
    site.record()
    await site.deliver()
    assert len(receiver.received[1].headers["webhook-signature"].split()) == 1
    endpoints.rotate(KEY, endpoint_id, keep_old=False)
    site.record()
    await site.deliver()
    assert len(receiver.received[2].headers["webhook-signature"].split()) == 1


async def test_another_key_file_signs_nothing_until_the_secret_is_rotated(
    open_site: OpenSite, receiver: Receiver, tmp_path: Path
) -> None:
    first = open_site()
    endpoint_id, _ = first.endpoint(receiver)
    (tmp_path / "webhook.key").unlink()
    site = open_site(first.engine)
    site.record()
    await site.deliver()
    assert site.log(endpoint_id)[0].attempts[0]["error"] == OTHER_KEY
    assert receiver.received == []
    site.webhooks.endpoints.rotate(KEY, endpoint_id, keep_old=False)
    site.clock.now += 10
    await site.deliver()
    assert len(receiver.received) == 1


async def test_a_deleted_endpoint_gets_nothing_more(open_site: OpenSite, receiver: Receiver) -> None:
    site = open_site()
    endpoint_id, _ = site.endpoint(receiver)
    site.record()
    site.webhooks.endpoints.delete(KEY, endpoint_id)
    assert await site.deliver() == 0
    site.record()
    assert await site.deliver() == 0


async def test_a_delivery_is_sent_again_on_demand(open_site: OpenSite, receiver: Receiver) -> None:
    site = open_site()
    endpoint_id, _ = site.endpoint(receiver)
    site.record()
    await site.deliver()
    (row,) = site.log(endpoint_id)
    again = site.webhooks.deliveries.redeliver(KEY, endpoint_id, row.id)
    assert (again.status, again.tries) == ("pending", 0)
    await site.deliver()
    assert receiver.ids == [row.event_id] * 2
    assert len(site.log(endpoint_id)[0].attempts) == 2


async def test_the_log_is_kept_for_a_week(open_site: OpenSite, receiver: Receiver) -> None:
    site = open_site()
    endpoint_id, _ = site.endpoint(receiver)
    site.record(url=receiver.url + "/job")
    await site.deliver()
    site.clock.now += 6 * DAY_S
    receiver.answer = lambda _: (500, {})
    site.record()
    await site.deliver()
    site.clock.now += 2 * DAY_S
    site.webhooks.deliveries.remove_old()
    assert [row.status for row in site.log(endpoint_id)] == ["pending"]
    with site.engine.connect() as connection:
        counts = [
            connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()
            for table in (EVENTS, DELIVERIES, ENDPOINTS)
        ]
    assert counts == [1, 1, 1]
