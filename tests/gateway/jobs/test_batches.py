"""OpenAI's own client, unmodified: upload, batch, wait, fetch."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.gateway.jobs.conftest import WHOLE, held_back, line, rows, submit, upload, wait
from tests.gateway.served import Gateway

pytestmark = pytest.mark.slow


def test_each_line_is_answered_as_the_http_call(alice: openai.OpenAI, speech: Path) -> None:
    file_id = upload(alice, speech.read_bytes())
    wanted: dict[str, dict[str, Any]] = {
        "plain": {},
        "verbose": {"response_format": "verbose_json", "timestamp_granularities": ["word", "segment"]},
        "srt": {"response_format": "srt"},
        "text": {"response_format": "text", "language": "en"},
    }
    batch = submit(alice, [line(name, file_id=file_id, **fields) for name, fields in wanted.items()])
    assert (batch.object, batch.status, batch.usage) == ("batch", "validating", None)
    done = wait(alice, batch.id)
    assert (done.status, done.errors, done.error_file_id, done.model) == (
        "completed",
        None,
        None,
        "whisper-1",
    )
    assert (done.request_counts.total, done.request_counts.completed, done.request_counts.failed) == (4, 4, 0)
    assert done.in_progress_at <= done.finalizing_at <= done.completed_at <= done.expires_at
    answers = rows(alice, done.output_file_id)
    for name, fields in wanted.items():
        call = alice.audio.transcriptions.with_raw_response.create(file=speech, model="whisper-1", **fields)
        body = answers[name]["response"]["body"]
        assert answers[name]["response"]["status_code"] == 200 and answers[name]["error"] is None
        assert body == (call.text if isinstance(body, str) else json.loads(call.text)), name


def test_a_line_names_its_model_or_its_language(alice: openai.OpenAI, tone_wav: bytes) -> None:
    file_id = upload(alice, tone_wav)
    fields: dict[str, dict[str, Any]] = {
        "name": {"model": "hindi"},
        "language": {"language": "hi"},
        "en": WHOLE,
    }
    lines = [
        line(name, **{"file_id": file_id, "vad_filter": False, "response_format": "verbose_json", **more})
        for name, more in fields.items()
    ]
    done = wait(alice, submit(alice, lines).id)
    answers = {name: one["response"]["body"] for name, one in rows(alice, done.output_file_id).items()}
    assert {name: body["model"] for name, body in answers.items()} == {
        "name": "hindi", "language": "hindi", "en": "whisper",
    }  # fmt: skip
    assert answers["name"]["text"] == answers["language"]["text"] == "ek do tin char panch ek"


def test_audio_in_the_line_itself(alice: openai.OpenAI, tone_wav: bytes) -> None:
    url = "data:audio/wav;base64," + base64.b64encode(tone_wav).decode()
    lines = [line("url", url=url, **WHOLE), line("file_url", file_url=url, **WHOLE)]
    done = wait(alice, submit(alice, lines).id)
    answers = rows(alice, done.output_file_id)
    assert {name: one["response"]["status_code"] for name, one in answers.items()} == {
        "url": 200,
        "file_url": 200,
    }
    assert done.audio_seconds == {"processed": 4.0}


def test_a_line_that_fails_fails_alone(alice: openai.OpenAI, tone_wav: bytes) -> None:
    good, bad = upload(alice, tone_wav), upload(alice, b"no audio")
    lines = [
        line("good", file_id=good, **WHOLE),
        line("no audio", file_id=bad),
        line("no such option", file_id=good, temprature=0.5),
        line("streamed", file_id=good, stream=True),
        line("elsewhere", url="https://example.org/a.wav"),
        line("no base64", url="data:;base64,???"),
    ]
    done = wait(alice, submit(alice, lines).id)
    assert done.status == "completed"
    assert (done.request_counts.completed, done.request_counts.failed) == (1, 5)
    assert rows(alice, done.output_file_id).keys() == {"good"}
    errors = rows(alice, done.error_file_id)
    assert {name: one["response"]["status_code"] for name, one in errors.items()} == {
        "no audio": 415,
        "no such option": 400,
        "streamed": 400,
        "elsewhere": 400,
        "no base64": 400,
    }
    assert "outbound fetching is off" in errors["elsewhere"]["response"]["body"]["error"]["message"]


def test_translations(alice: openai.OpenAI, tone_wav: bytes) -> None:
    endpoint = "/v1/audio/translations"
    one = {**line("0", file_id=upload(alice, tone_wav), vad_filter=False), "url": endpoint}
    done = wait(alice, submit(alice, [one], endpoint=endpoint).id)
    assert (done.status, done.request_counts.completed) == ("completed", 1)


@pytest.mark.parametrize(
    ("wrong", "code", "number"),
    [
        (["{"], "invalid_json_line", 1),
        (["", "[]"], "invalid_json_line", 2),
        ([], "empty_file", None),
        ([line("0", url="data:,"), line("0", url="data:,")], "duplicate_custom_id", 2),
        ([{**line("0", url="data:,"), "method": "GET"}], "invalid_method", 1),
        ([{**line("0", url="data:,"), "url": 3}], "invalid_url", 1),
        ([{**line("0", url="data:,"), "url": "/v1/embeddings"}], "mismatched_endpoint", 1),
        ([line("0")], "missing_audio", 1),
        ([line("0", url="data:,", file_url="data:,")], "multiple_audio_sources", 1),
        ([line("0", file_id="file-0")], "file_not_found", 1),
        ([line("0", url="data:,", model="gpt-9")], "model_not_found", 1),
        ([line("", url="data:,")], "missing_custom_id", 1),
    ],
)
def test_a_wrong_line_fails_the_batch(
    alice: openai.OpenAI, wrong: list[Any], code: str, number: int | None
) -> None:
    done = wait(alice, submit(alice, wrong).id)
    assert (done.status, done.output_file_id, done.error_file_id) == ("failed", None, None)
    assert [(error.code, error.line) for error in done.errors.data] == [(code, number)]
    assert done.failed_at is not None and done.in_progress_at is None


@pytest.mark.parametrize(
    ("fields", "code", "param"),
    [
        ({"endpoint": "/v1/embeddings"}, "invalid_value", "endpoint"),
        ({"completion_window": "1h"}, "invalid_value", "completion_window"),
        ({"metadata": {"x": "y" * 513}}, "metadata_too_large", "metadata"),
        ({"output_expires_after": {"anchor": "created_at", "seconds": 1}}, "invalid_value", None),
        ({"extra_body": {"priority": 0}}, "invalid_value", "priority"),
        ({"extra_body": {"delete_after_use": "yes"}}, "invalid_value", "delete_after_use"),
        ({"extra_body": {"webhook_url": "https://10.0.0.1/"}}, "invalid_value", "webhook_url"),
        ({"extra_body": {"input_file_id": "file-0"}}, "file_not_found", "input_file_id"),
    ],
)
def test_a_wrong_request_is_refused(
    alice: openai.OpenAI, fields: dict[str, Any], code: str, param: str | None
) -> None:
    with pytest.raises(openai.BadRequestError) as refusal:
        submit(alice, [line("0", url="data:,")], **fields)
    assert refusal.value.code == code
    assert param is None or refusal.value.param == param


def test_an_input_of_another_purpose_is_refused(alice: openai.OpenAI, tone_wav: bytes) -> None:
    with pytest.raises(openai.BadRequestError) as refusal:
        alice.batches.create(
            input_file_id=upload(alice, tone_wav),
            endpoint="/v1/audio/transcriptions",  # type: ignore[arg-type]
            completion_window="24h",
        )
    assert refusal.value.code == "invalid_file_purpose"


def test_the_list_has_pages(alice: openai.OpenAI) -> None:
    ids = [submit(alice, ["{"], metadata={"n": str(n)}).id for n in range(3)]
    listed = [batch.id for batch in alice.batches.list(limit=2)]
    assert listed[:3] == ids[::-1] and len(set(listed)) == len(listed)
    assert alice.batches.retrieve(ids[1]).metadata == {"n": "1"}
    with pytest.raises(openai.BadRequestError):
        alice.batches.list(after="batch_0")


def test_the_place_among_the_batches_of_the_key(
    alice: openai.OpenAI, bob: openai.OpenAI, gateway: Gateway, tone_wav: bytes
) -> None:
    audio = upload(alice, tone_wav)

    def make(client: openai.OpenAI, file_id: str, priority: int) -> str:
        return submit(client, [line("0", file_id=file_id, **WHOLE)], extra_body={"priority": priority}).id

    with held_back(gateway):
        ids = [make(alice, audio, priority) for priority in (5, 9, 1, 5)]
        of_bob = make(bob, upload(bob, tone_wav), 5)
        assert [alice.batches.retrieve(one).queue_position for one in ids] == [1, 3, 0, 2]  # type: ignore[attr-defined]
        listed = {one.id: one.queue_position for one in alice.batches.list()}  # type: ignore[attr-defined]
        assert [listed[one] for one in ids] == [1, 3, 0, 2]
        assert bob.batches.retrieve(of_bob).queue_position == 0  # type: ignore[attr-defined]
    assert all(wait(alice, one).queue_position is None for one in ids)


def test_files_that_are_deleted_after_use(alice: openai.OpenAI, tone_wav: bytes) -> None:
    audio, other = upload(alice, tone_wav), upload(alice, tone_wav)
    made = submit(alice, [line("0", file_id=audio, **WHOLE)], extra_body={"delete_after_use": True})
    done = wait(alice, made.id)
    soon = done.completed_at + 86_400
    for file_id in (audio, made.input_file_id):
        assert soon - 60 <= alice.files.retrieve(file_id).expires_at <= soon + 60
    for file_id in (other, done.output_file_id):
        assert alice.files.retrieve(file_id).expires_at > soon + 86_400


def test_another_keys_things_are_not_found(alice: openai.OpenAI, bob: openai.OpenAI, tone_wav: bytes) -> None:
    file_id = upload(alice, tone_wav)
    batch_id = submit(alice, [line("0", file_id=file_id, **WHOLE)]).id
    wait(alice, batch_id)
    for call in (
        lambda: bob.files.retrieve(file_id),
        lambda: bob.files.content(file_id),
        lambda: bob.files.delete(file_id),
        lambda: bob.batches.retrieve(batch_id),
        lambda: bob.batches.cancel(batch_id),
    ):
        with pytest.raises(openai.NotFoundError):
            call()
    failed = wait(bob, submit(bob, [line("0", file_id=file_id)]).id)
    assert failed.errors.data[0].code == "file_not_found"
    assert file_id not in {file.id for file in bob.files.list()}
    assert batch_id not in {batch.id for batch in bob.batches.list()}


def test_a_batch_that_has_ended_cannot_be_cancelled(alice: openai.OpenAI) -> None:
    batch_id = wait(alice, submit(alice, ["{"]).id).id
    with pytest.raises(openai.ConflictError) as refusal:
        alice.batches.cancel(batch_id)
    assert refusal.value.code == "batch_not_cancellable"
    assert refusal.value.response.headers["x-should-retry"] == "false"
