"""Endpoints managed by OpenAI's client, unmodified, and what it does not know by plain HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx2
import openai
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from gateway.app import create_app
from gateway.service import Service
from gateway.settings import Settings
from tests.gateway.fake_torchserve import FakeTorchServe
from tests.gateway.served import Gateway, settings_for
from tests.gateway.webhooks.conftest import DONE, LOCAL
from tests.gateway.webhooks.receivers import Receiver, until

pytestmark = pytest.mark.slow

ALICE, BOB = "sk-alice-0123456789", "sk-bob-0123456789"
NAMES = {"alice": ALICE, "bob": BOB}
ENDPOINTS = "/v1/webhook_endpoints"
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


@pytest.fixture(scope="module")
def site(fake: FakeTorchServe, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway with webhooks and two keys."""
    folder = tmp_path_factory.mktemp("webhooks")
    keys = folder / "keys.yaml"
    keys.write_text("keys:\n" + "".join(f"- {{name: {name}, key: {key}}}\n" for name, key in NAMES.items()))
    (folder / "spool").mkdir()
    settings = settings_for(
        fake,
        folder / "spool",
        access={"keys_file": keys},
        jobs={"directory": folder / "jobs"},
        outbound=LOCAL.model_dump(),
        webhooks={"max_endpoints_per_key": 3, "timeout_s": 5},
    )
    with Gateway(settings) as gateway:
        yield gateway


@pytest.fixture
def alice(site: Gateway) -> Iterator[openai.OpenAI]:
    with sdk(site, ALICE) as client:
        yield client
        for endpoint in client.webhooks.list():
            client.webhooks.delete(endpoint.id)


@pytest.fixture
def bob(site: Gateway) -> Iterator[openai.OpenAI]:
    with sdk(site, BOB) as client:
        yield client


@pytest.fixture
def http(site: Gateway) -> Iterator[httpx2.Client]:
    headers = {"Authorization": f"Bearer {ALICE}"}
    with httpx2.Client(base_url=site.url, headers=headers, timeout=30) as client:
        yield client


def sdk(site: Gateway, key: str) -> openai.OpenAI:
    return openai.OpenAI(api_key=key, base_url=f"{site.url}/v1", max_retries=0, timeout=30)


def create(client: openai.OpenAI, url: str, /, **fields: Any) -> Any:
    values = {"name": "archive", "url": url, "event_types": ["batch.completed"]} | fields
    return client.webhooks.create(**values)


def record(site: Gateway, name: str = "alice", type: str = "batch.completed") -> None:
    webhooks = site.app.state.jobs.webhooks
    assert webhooks is not None
    with webhooks.endpoints._engine.begin() as connection:
        webhooks.outbox.record_event(connection, name, type, DONE)


def wait_for(receiver: Receiver, number: int) -> None:
    until(lambda: len(receiver.received) >= number)


def test_a_life_of_an_endpoint(site: Gateway, alice: openai.OpenAI, receiver: Receiver) -> None:
    made = create(alice, receiver.url)
    assert made.object == "webhook_endpoint" and made.signing_secret.startswith("whsec_")
    assert made.signing_secret_hint == f"whsec_…{made.signing_secret[-4:]}"
    found = alice.webhooks.retrieve(made.id)
    assert "signing_secret" not in found.to_dict()
    assert (found.name, found.url, found.event_types) == ("archive", receiver.url, ["batch.completed"])

    record(site)
    wait_for(receiver, 1)
    got = receiver.received[0]
    event = alice.webhooks.unwrap(got.body, got.headers, secret=made.signing_secret)
    assert (event.type, event.data.id) == ("batch.completed", "batch_1")  # type: ignore[union-attr]

    changed = alice.webhooks.update(made.id, name="other", event_types=["batch.failed"])
    assert (changed.name, changed.url, changed.event_types) == ("other", receiver.url, ["batch.failed"])
    assert alice.webhooks.update(made.id, name="other").updated_at == changed.updated_at

    rotated = alice.webhooks.rotate_secret(made.id, keep_old_secret_active_for_24_hours=True)
    assert rotated.signing_secret != made.signing_secret
    tested = alice.webhooks.test(made.id, event_type="batch.failed")
    assert (tested.object, tested.status_code, tested.success) == ("webhook_endpoint.test", 200, True)
    assert receiver.received[1].event(made.signing_secret) == receiver.received[1].event(
        rotated.signing_secret
    )

    deleted = alice.webhooks.delete(made.id)
    assert (deleted.object, deleted.deleted) == ("webhook_endpoint.deleted", True)
    with pytest.raises(openai.NotFoundError):
        alice.webhooks.retrieve(made.id)


def test_the_list_is_paged_newest_first(alice: openai.OpenAI, receiver: Receiver) -> None:
    made = [create(alice, receiver.url, name=f"n{number}").id for number in range(3)]
    assert [endpoint.id for endpoint in alice.webhooks.list(limit=2)] == made[::-1]  # two pages
    page = alice.webhooks.list(limit=1)
    assert page.has_more and page.data[0].id == made[2]
    with pytest.raises(openai.BadRequestError) as refusal:
        create(alice, receiver.url)
    assert refusal.value.code == "too_many_webhook_endpoints"
    with pytest.raises(openai.BadRequestError) as refusal:
        alice.webhooks.list(after="we_nowhere")
    assert refusal.value.param == "after"


def test_event_types(alice: openai.OpenAI) -> None:
    types = alice.webhooks.event_types.list().data
    assert types == ["batch.completed", "batch.failed", "batch.expired", "batch.cancelled"]


def test_another_keys_endpoint_is_not_there(
    site: Gateway, alice: openai.OpenAI, bob: openai.OpenAI, receiver: Receiver
) -> None:
    mine = create(alice, receiver.url).id
    for call in (
        lambda: bob.webhooks.retrieve(mine),
        lambda: bob.webhooks.update(mine, name="x"),
        lambda: bob.webhooks.rotate_secret(mine),
        lambda: bob.webhooks.test(mine, event_type="batch.completed"),
        lambda: bob.webhooks.delete(mine),
    ):
        with pytest.raises(openai.NotFoundError) as refusal:
            call()
        assert refusal.value.code == "webhook_endpoint_not_found"
    log = httpx2.get(
        f"{site.url}{ENDPOINTS}/{mine}/deliveries", headers={"Authorization": f"Bearer {BOB}"}, timeout=30
    )
    assert log.status_code == 404
    assert list(bob.webhooks.list()) == []
    assert receiver.received == []


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"url": "ftp://files.example/"}, "url"),
        ({"url": "https://user:secret@files.example/"}, "url"),
        ({"url": "https://169.254.169.254/latest"}, "url"),
        ({"url": "https://[::ffff:10.0.0.1]/"}, "url"),
        ({"url": "https://2130706433:99/"}, "url"),
        ({"url": ""}, "url"),
        ({"event_types": []}, "event_types"),
        ({"event_types": ["response.completed"]}, "event_types.0"),
        ({"event_types": ["batch.failed", "batch.failed"]}, "event_types"),
        ({"name": ""}, "name"),
        ({"name": "a\x00b"}, "name"),
        ({"name": "x" * 300}, "name"),
        ({"extra_body": {"secret": "mine"}}, "secret"),
    ],
)
def test_400_names_the_field(alice: openai.OpenAI, receiver: Receiver, fields: Any, param: str) -> None:
    with pytest.raises(openai.BadRequestError) as refusal:
        create(alice, receiver.url, **fields)
    assert refusal.value.param == param
    assert "secret@" not in refusal.value.message
    assert list(alice.webhooks.list()) == []


def test_a_test_without_a_receiver(alice: openai.OpenAI) -> None:
    with Receiver() as gone:
        made = create(alice, gone.url)
    with pytest.raises(openai.BadRequestError, match="took no connection") as refusal:
        alice.webhooks.test(made.id, event_type="batch.completed")
    assert refusal.value.code == "webhook_test_failed"


def test_the_delivery_log_and_a_redelivery(
    site: Gateway, alice: openai.OpenAI, http: httpx2.Client, receiver: Receiver
) -> None:
    receiver.answer = lambda number: (200 if number else 418, {})
    made = create(alice, receiver.url)
    record(site)
    wait_for(receiver, 1)
    log = f"{ENDPOINTS}/{made.id}/deliveries"
    until(lambda: http.get(log).json()["data"][0]["attempts"])
    (delivery,) = http.get(log).json()["data"]
    assert (delivery["status"], delivery["event_id"]) == ("pending", receiver.ids[0])
    assert delivery["attempts"][0]["status_code"] == 418
    assert delivery["next_attempt_at"] >= delivery["created_at"] + 3

    again = http.post(f"{log}/{delivery['id']}/redeliver")
    assert (again.status_code, again.json()["status"]) == (200, "pending")
    wait_for(receiver, 2)
    assert len(set(receiver.ids)) == 1
    assert http.get(log, params={"after": delivery["id"]}).json()["data"] == []
    missing = http.post(f"{log}/whd_nowhere/redeliver")
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "webhook_delivery_not_found")


def test_a_disabled_endpoint_is_shown_and_not_redelivered_to(
    site: Gateway, alice: openai.OpenAI, http: httpx2.Client, receiver: Receiver
) -> None:
    receiver.answer = lambda _: (410, {})
    made = create(alice, receiver.url)
    record(site)
    until(lambda: http.get(f"{ENDPOINTS}/{made.id}").json()["disabled_at"])
    log = f"{ENDPOINTS}/{made.id}/deliveries"
    (delivery,) = http.get(log).json()["data"]
    refusal = http.post(f"{log}/{delivery['id']}/redeliver")
    assert (refusal.status_code, refusal.headers["x-should-retry"]) == (409, "false")
    assert http.post(f"{ENDPOINTS}/{made.id}", json={"url": receiver.url}).json()["disabled_at"] is None


@pytest.mark.parametrize("path", ["%00", "we_%00", "a" * 500, "%F0%9F%8E%A4", "we_1%0d%0aX: 1"])
def test_strange_ids_are_not_there(http: httpx2.Client, path: str) -> None:
    assert http.get(f"{ENDPOINTS}/{path}").status_code == 404


def test_strangers_are_refused_first(site: Gateway, receiver: Receiver) -> None:
    body = {"name": "x", "url": receiver.url, "event_types": ["batch.completed"]}
    for method, path in (("POST", ENDPOINTS), ("GET", ENDPOINTS), ("GET", "/v1/webhook_event_types")):
        answer = httpx2.request(method, site.url + path, json=body, timeout=30)
        assert answer.status_code == 401


def test_a_server_without_jobs_says_so(gateway: Gateway) -> None:
    answer = httpx2.get(f"{gateway.url}{ENDPOINTS}", timeout=30)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "webhooks_off")


schema = schemathesis.openapi.from_dict(create_app(Service(Settings())).openapi())


# dbos's threads draw from the generator that Hypothesis watches
@pytest.mark.filterwarnings("ignore::hypothesis.errors.HypothesisDeprecationWarning")
@schema.include(path_regex="^/v1/webhook_").parametrize()
@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
def test_made_up_requests(case: schemathesis.Case, site: Gateway) -> None:
    case.call_and_validate(
        base_url=site.url, headers={"Authorization": f"Bearer {BOB}"}, checks=CHECKS, timeout=30
    )


def test_metrics_count_the_deliveries(site: Gateway, alice: openai.OpenAI, receiver: Receiver) -> None:
    def delivered() -> float:
        text = httpx2.get(f"{site.url}/metrics", timeout=30).text
        line = 'whisper_gateway_webhook_deliveries_total{outcome="delivered"} '
        return float(text.partition(line)[2].split()[0])

    before = delivered()
    create(alice, receiver.url)
    record(site)
    until(lambda: delivered() > before)
