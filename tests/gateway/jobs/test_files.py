"""Files and uploads, as OpenAI's client sends them."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path

import openai
import pytest

from gateway.jobs.files import catalogue
from tests.gateway.jobs.conftest import ALICE, WHOLE, held_back, http, line, submit, upload, wait
from tests.gateway.served import Gateway

pytestmark = pytest.mark.slow


def contents(gateway: Gateway) -> set[str]:
    directory = gateway.settings.jobs.directory
    assert directory is not None
    assert list((directory / "incoming").iterdir()) == []
    return {path.name for path in (directory / "content").iterdir()}


def test_a_file_comes_back_as_it_was(alice: openai.OpenAI, gateway: Gateway) -> None:
    content = bytes(range(256)) * 100
    file = alice.files.create(
        file=("ü.wav", content), purpose="user_data", expires_after={"anchor": "created_at", "seconds": 3_600}
    )
    assert (file.bytes, file.filename, file.purpose, file.status) == (
        25_600,
        "ü.wav",
        "user_data",
        "processed",
    )
    assert file.expires_at == file.created_at + 3_600
    assert alice.files.retrieve(file.id) == file
    assert alice.files.content(file.id).content == content
    some = http(
        "GET",
        f"{gateway.url}/v1/files/{file.id}/content",
        headers={"Range": "bytes=256-259", "Authorization": f"Bearer {ALICE}"},
    )
    assert (some.status_code, some.content) == (206, bytes(range(4)))
    assert file.id in contents(gateway)
    assert alice.files.delete(file.id).deleted
    assert file.id not in contents(gateway)
    with pytest.raises(openai.NotFoundError) as missing:
        alice.files.retrieve(file.id)
    assert missing.value.code == "file_not_found"


def test_files_are_listed_by_purpose_and_age(alice: openai.OpenAI) -> None:
    audio = [upload(alice, b"x", name=f"{n}.wav") for n in range(3)]
    lines = upload(alice, b"{}", "batch")
    assert [file.id for file in alice.files.list(purpose="user_data", limit=2)][:3] == audio[::-1]
    assert [file.id for file in alice.files.list(order="asc")][-4:] == [*audio, lines]
    assert lines in {file.id for file in alice.files.list(purpose="batch")}


@pytest.mark.parametrize(
    ("fields", "code", "param"),
    [
        ({"purpose": "assistants"}, "invalid_purpose", "purpose"),
        ({"purpose": "batch_output"}, "invalid_purpose", "purpose"),
        ({}, "missing_required_parameter", "purpose"),
        ({"purpose": "batch", "expires_after[seconds]": "60"}, "invalid_value", "expires_after[seconds]"),
        ({"purpose": "batch", "expires_after[seconds]": "soon"}, "invalid_value", "expires_after"),
        ({"purpose": "batch", "colour": "red"}, "invalid_value", "colour"),
    ],
)
def test_a_wrong_form_is_refused(gateway: Gateway, fields: dict[str, str], code: str, param: str) -> None:
    before = contents(gateway)
    answer = http(
        "POST",
        f"{gateway.url}/v1/files",
        data=fields,
        files={"file": b"x"},
        headers={"Authorization": f"Bearer {ALICE}"},
    )
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (400, code, param)
    assert contents(gateway) == before


def test_a_file_that_a_batch_needs_stays(alice: openai.OpenAI, gateway: Gateway, tone_wav: bytes) -> None:
    audio = upload(alice, tone_wav)
    with held_back(gateway):
        batch = submit(alice, [line("0", file_id=audio, **WHOLE)])
        wait(alice, batch.id, ["in_progress"])
        for name in (audio, batch.input_file_id):
            with pytest.raises(openai.ConflictError) as needed:
                alice.files.delete(name)
            assert needed.value.code == "file_in_use"
            assert needed.value.response.headers["x-should-retry"] == "false"
    wait(alice, batch.id)
    assert alice.files.delete(audio).deleted and alice.files.delete(batch.input_file_id).deleted


def test_a_key_stores_no_more_than_it_may(alice: openai.OpenAI, bob: openai.OpenAI, gateway: Gateway) -> None:
    stored = sum(file.bytes for file in bob.files.list())
    held = [upload(bob, bytes((20_000_000 - stored) // 4)) for _ in range(4)]
    before = contents(gateway)
    with pytest.raises(openai.RateLimitError) as full:
        upload(bob, b"1234")
    assert full.value.code == "storage_quota_exceeded" and "Retry-After" in full.value.response.headers
    assert contents(gateway) == before
    upload(alice, b"x")
    for name in held:
        bob.files.delete(name)
    upload(bob, b"x")


def test_an_expired_file_goes(
    alice: openai.OpenAI, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    file_id = upload(alice, b"short-lived")
    later = catalogue.now() + 31 * 86_400
    monkeypatch.setattr(catalogue, "now", lambda: later)
    with pytest.raises(openai.NotFoundError):
        alice.files.content(file_id)
    monkeypatch.setattr("gateway.jobs.engine.sweeper.now", lambda: later)
    gateway.app.state.jobs._sweeper._expire_files()
    assert file_id not in contents(gateway)


def test_an_upload_in_parts(bob: openai.OpenAI, gateway: Gateway, tmp_path: Path) -> None:
    content = bytes(range(250)) * 4_000
    path = tmp_path / "large.wav"
    path.write_bytes(content)
    done = bob.uploads.upload_file_chunked(
        file=path,
        mime_type="audio/wav",
        purpose="user_data",
        part_size=300_000,
        md5=hashlib.md5(content).hexdigest(),
    )
    assert (done.status, done.bytes) == ("completed", 1_000_000)
    assert done.file is not None and bob.files.content(done.file.id).content == content
    assert not [name for name in contents(gateway) if name.startswith("part_")]
    assert bob.files.delete(done.file.id).deleted


def test_an_upload_that_does_not_add_up_is_refused(bob: openai.OpenAI, alice: openai.OpenAI) -> None:
    begun = bob.uploads.create(bytes=6, filename="a.wav", mime_type="audio/wav", purpose="user_data")
    parts = [bob.uploads.parts.create(begun.id, data=piece).id for piece in (b"abc", b"def")]
    with pytest.raises(openai.APIStatusError) as large:
        bob.uploads.parts.create(begun.id, data=b"g")
    assert (large.value.status_code, large.value.code) == (413, "file_too_large")
    for ids, more in ((parts[:1], {}), ([parts[0]] * 2, {}), (["part_0"], {}), (parts, {"md5": "0" * 32})):
        with pytest.raises(openai.BadRequestError):
            bob.uploads.complete(begun.id, part_ids=ids, **more)  # type: ignore[arg-type]
    with pytest.raises(openai.NotFoundError):
        alice.uploads.cancel(begun.id)
    done = bob.uploads.complete(begun.id, part_ids=parts[::-1])
    assert done.file is not None and bob.files.content(done.file.id).content == b"defabc"
    assert bob.uploads.complete(begun.id, part_ids=parts).file == done.file
    with pytest.raises(openai.ConflictError) as over:
        bob.uploads.cancel(begun.id)
    assert over.value.code == "upload_completed"
    with pytest.raises(openai.APIStatusError) as too_large:
        bob.uploads.create(bytes=2_000_001, filename="a", mime_type="audio/wav", purpose="user_data")
    assert too_large.value.status_code == 413


def test_a_cancelled_upload_leaves_nothing(bob: openai.OpenAI, gateway: Gateway) -> None:
    begun = bob.uploads.create(bytes=6, filename="a.wav", mime_type="audio/wav", purpose="user_data")
    part = bob.uploads.parts.create(begun.id, data=b"abc").id
    assert part in contents(gateway)
    assert bob.uploads.cancel(begun.id).status == "cancelled"
    assert part not in contents(gateway)
    with pytest.raises(openai.ConflictError):
        bob.uploads.parts.create(begun.id, data=b"abc")


def test_files_of_many_threads_are_all_there(alice: openai.OpenAI) -> None:
    ids: list[str] = []
    threads = [
        threading.Thread(target=lambda n=n: ids.append(upload(alice, b"%d" % n)))  # type: ignore[misc]
        for n in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(ids)) == 12
    assert sorted(alice.files.content(name).content for name in ids) == sorted(b"%d" % n for n in range(12))
