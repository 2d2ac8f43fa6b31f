"""A request that comes twice makes one thing: by its Idempotency-Key, or as a retry of OpenAI's clients."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from tests.gateway.jobs.conftest import ALICE, ENDPOINT, WHOLE, held_back, http, line, submit, upload, wait
from tests.gateway.served import Gateway

pytestmark = pytest.mark.slow


def test_a_batch_with_an_idempotency_key(alice: openai.OpenAI, bob: openai.OpenAI) -> None:
    file_id = upload(alice, b"{", "batch")
    asked: dict[str, Any] = {"input_file_id": file_id, "endpoint": ENDPOINT, "completion_window": "24h"}
    key = {"Idempotency-Key": "night-1"}
    first = alice.batches.create(**asked, extra_headers=key)
    wait(alice, first.id)
    second = alice.batches.with_raw_response.create(**asked, extra_headers=key)
    assert second.headers["Idempotency-Replayed"] == "true"
    assert second.parse() == first, "the answer of then"
    with pytest.raises(openai.UnprocessableEntityError) as reused:
        alice.batches.create(**(asked | {"completion_window": "48h"}), extra_headers=key)
    assert reused.value.code == "idempotency_key_reused"
    assert alice.batches.create(**asked).id != first.id
    with pytest.raises(openai.BadRequestError):
        bob.batches.create(**asked, extra_headers=key)


def test_a_retry_without_a_key(gateway: Gateway, alice: openai.OpenAI) -> None:
    file_id = upload(alice, b"{", "batch")
    body = {"input_file_id": file_id, "endpoint": ENDPOINT, "completion_window": "24h"}

    def create(retries: int) -> Any:
        headers = {"Authorization": f"Bearer {ALICE}", "x-stainless-retry-count": str(retries)}
        return http("POST", f"{gateway.url}/v1/batches", json=body, headers=headers).json()["id"]

    first = create(0)
    assert [create(1), create(2)] == [first, first]
    assert create(0) != first


@pytest.mark.parametrize("headers", [{"Idempotency-Key": "f"}, {"x-stainless-retry-count": "1"}])
def test_a_file_that_is_sent_again(
    gateway: Gateway, headers: dict[str, str], request: pytest.FixtureRequest
) -> None:
    headers = {"Authorization": f"Bearer {ALICE}", **headers}

    def create(content: bytes) -> Any:
        files = {"file": (f"{request.node.name}.wav", content)}
        data = {"purpose": "user_data"}
        return http("POST", f"{gateway.url}/v1/files", files=files, data=data, headers=headers)

    directory = gateway.settings.jobs.directory
    assert directory is not None
    first = create(b"abc").json()["id"]
    before = sorted((directory / "content").iterdir())
    assert create(b"abc").json()["id"] == first
    assert sorted((directory / "content").iterdir()) == before, "the second copy is gone"
    other = create(b"xyz")
    assert other.status_code == 422 if "Idempotency-Key" in headers else other.json()["id"] != first


def test_more_batches_than_a_key_may_have(
    alice: openai.OpenAI, bob: openai.OpenAI, gateway: Gateway, tone_wav: bytes
) -> None:
    audio = upload(alice, tone_wav)
    with held_back(gateway):
        blocked = [submit(alice, [line(str(n), file_id=audio, **WHOLE)]).id for n in range(5)]
        with pytest.raises(openai.RateLimitError) as full:
            submit(alice, ["{"], metadata={"n": "4"})
        assert full.value.code == "batch_queue_full" and "Retry-After" in full.value.response.headers
        assert wait(bob, submit(bob, ["{"]).id).status == "failed"
    for batch_id in blocked:
        assert wait(alice, batch_id).status == "completed"
    assert wait(alice, submit(alice, ["{"]).id).status == "failed"
