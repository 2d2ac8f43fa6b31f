"""One file as a job: `Prefer: respond-async` and /transcribe_async/."""

from __future__ import annotations

from pathlib import Path

import httpx2
import openai
import pytest

from tests.gateway.jobs.conftest import ALICE, BOB, ENDED, ENDPOINT, http, rows, until, wait
from tests.gateway.served import Gateway

pytestmark = pytest.mark.slow

ASYNC = {"Prefer": "respond-async"}


def call(
    gateway: Gateway, path: str, speech: Path | None = None, key: str = ALICE, **headers: str
) -> httpx2.Response:
    headers = {"Authorization": f"Bearer {key}", **headers}
    if speech is None:
        return http("GET", gateway.url + path, headers=headers)
    files = {"file": speech.read_bytes()}
    return http("POST", gateway.url + path, files=files, headers=headers, data={"temperature": "0"})


def test_the_sdk_gets_a_batch_in_place_of_the_text(
    alice: openai.OpenAI, gateway: Gateway, speech: Path
) -> None:
    raw = alice.audio.transcriptions.with_raw_response.create(
        file=speech, model="whisper-1", response_format="verbose_json", extra_headers=ASYNC
    )
    assert raw.status_code == 202
    assert (raw.headers["Preference-Applied"], raw.headers["Retry-After"]) == ("respond-async", "1")
    batch_id: str = raw.http_response.json()["id"]
    assert raw.headers["Location"] == f"/v1/batches/{batch_id}"
    done = wait(alice, batch_id)
    assert (done.status, done.request_counts.completed) == ("completed", 1)
    body = rows(alice, done.output_file_id)["0"]["response"]["body"]
    assert body == alice.audio.transcriptions.create(
        file=speech, model="whisper-1", response_format="verbose_json"
    ).model_dump(exclude_unset=True)


def test_wrong_fields_are_refused_before(alice: openai.OpenAI, speech: Path) -> None:
    before = len(list(alice.files.list()))
    for fields in ({"temperature": 7}, {"stream": True}, {"model": "gpt-9"}):
        with pytest.raises(openai.APIStatusError) as refusal:
            alice.audio.transcriptions.create(
                file=speech, extra_headers=ASYNC, **{"model": "whisper-1", **fields}
            )
        assert refusal.value.status_code in (400, 404)
    assert len(list(alice.files.list())) == before


def test_a_request_that_is_sent_again_makes_one_batch(
    alice: openai.OpenAI, gateway: Gateway, speech: Path
) -> None:
    headers = {**ASYNC, "Idempotency-Key": "once"}
    first, second = (call(gateway, ENDPOINT, speech, **headers) for _ in range(2))
    assert (first.status_code, second.status_code) == (202, 202)
    assert first.json()["id"] == second.json()["id"]
    assert second.headers["Idempotency-Replayed"] == "true"
    wait(alice, first.json()["id"])


def test_without_the_preference_nothing_changes(gateway: Gateway, speech: Path) -> None:
    answer = call(gateway, ENDPOINT, speech, Prefer="wait=5")
    assert answer.status_code == 200 and answer.json()["text"]


def test_the_task_of_one_file(gateway: Gateway, speech: Path) -> None:
    headers = {"Authorization": f"Bearer {ALICE}"}
    with speech.open("rb") as file:
        posted = http("POST", f"{gateway.url}/transcribe_async/", files={"file": file}, headers=headers)
    task = posted.json()
    assert posted.status_code == 202
    path = f"/transcribe_async/{task['task_id']}"
    assert posted.headers["Location"] == path
    done = until(lambda: call(gateway, path).json(), lambda one: one["status"] in ENDED)
    assert (done["status"], done["error"]) == ("completed", None)
    assert done["result"]["text"]
    assert call(gateway, path, key=BOB).status_code == 404


def test_the_task_of_a_file_that_is_no_audio(gateway: Gateway) -> None:
    headers = {"Authorization": f"Bearer {ALICE}"}
    posted = http("POST", f"{gateway.url}/transcribe_async/", files={"file": b"text"}, headers=headers)
    path = f"/transcribe_async/{posted.json()['task_id']}"
    done = until(lambda: call(gateway, path).json(), lambda one: one["status"] in ENDED)
    assert done["result"] is None and done["error"]["code"] == "unsupported_media"
