"""Files in a folder, and in a bucket as fsspec knows them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec  # type: ignore[import-untyped]
import openai
import pytest

from asr.errors import Overloaded
from gateway.jobs.files.bucket import BucketContents
from gateway.jobs.files.contents import FORGOTTEN_S, Contents
from gateway.jobs.files.folder import FolderContents
from gateway.settings import SettingsError
from tests.gateway.fake_torchserve import FakeTorchServe
from tests.gateway.jobs.conftest import (
    WHOLE,
    House,
    http,
    line,
    rows,
    submit,
    upload,
    wait,
    wait_for_media,
)
from tests.gateway.served import Gateway, settings_for


@pytest.fixture(params=["folder", "memory", "file"])
def contents(request: pytest.FixtureRequest, tmp_path: Path) -> Contents:
    made: Contents
    if request.param == "folder":
        made = FolderContents(tmp_path)
    else:
        (tmp_path / "bucket").mkdir()
        made = BucketContents(f"{request.param}://{tmp_path}/bucket/jobs/", tmp_path / "incoming")
        if request.param == "file":
            (tmp_path / "bucket" / "jobs").mkdir()
    made.make()
    return made


def received(contents: Contents, content: bytes) -> Path:
    path = contents.incoming / "body"
    path.write_bytes(content)
    return path


def whole(contents: Contents, name: str) -> bytes:
    with contents.local(name) as path:
        return path.read_bytes()


def test_what_was_adopted_comes_back(contents: Contents) -> None:
    body = received(contents, b"0123456789")
    contents.adopt(body, "file-1")
    body.unlink()
    assert whole(contents, "file-1") == b"0123456789"
    assert contents.read("file-1", 3, 4) == b"3456"
    contents.remove("file-1", "file-2")
    for ask in (lambda: whole(contents, "file-1"), lambda: contents.read("file-1", 0, 1)):
        with pytest.raises(FileNotFoundError):
            ask()
    assert list(contents.incoming.iterdir()) == []


def test_a_file_that_is_written_is_whole_or_not_there(contents: Contents) -> None:
    with contents.writing("file-1") as file:
        file.write(b"first")
    with contents.writing("file-1") as file:
        file.write(b"again")
    with pytest.raises(ValueError, match="killed"), contents.writing("file-2") as file:
        raise ValueError("killed")
    assert whole(contents, "file-1") == b"again" and list(contents.incoming.iterdir()) == []
    with pytest.raises(FileNotFoundError):
        whole(contents, "file-2")


def test_parts_are_joined_in_order(contents: Contents) -> None:
    for name, content in (("part_b", b"def"), ("part_a", b"abc")):
        contents.adopt(received(contents, content), name)
        (contents.incoming / "body").unlink()
    _, md5 = contents.join(["part_a", "part_b"], "file-1")
    assert whole(contents, "file-1") == b"abcdef" and md5 == "e80b5017098950fc58aad83c8c14978e"


def test_old_content_is_found(contents: Contents, monkeypatch: pytest.MonkeyPatch) -> None:
    assert contents.forgotten() == []
    contents.adopt(received(contents, b"x"), "file-1")
    assert contents.forgotten() == []
    monkeypatch.setattr("gateway.jobs.files.contents.FORGOTTEN_S", -FORGOTTEN_S)
    assert contents.forgotten() == ["file-1"] and list(contents.incoming.iterdir()) == []


def test_a_bucket_that_does_not_answer_is_a_503(tmp_path: Path) -> None:
    contents = BucketContents("memory://away", tmp_path)

    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("no route to the bucket")

    with pytest.MonkeyPatch.context() as patch:
        for name in ("put_file", "get_file", "cat_file", "ls", "rm_file"):
            patch.setattr(contents._bucket, name, broken)
        for ask in (
            lambda: contents.adopt(received(contents, b"x"), "file-1"),
            lambda: whole(contents, "file-1"),
            lambda: contents.read("file-1", 0, 1),
            lambda: contents.forgotten(),
        ):
            with pytest.raises(Overloaded):
                ask()
        contents.remove("file-1")


@pytest.mark.parametrize("place", ["nowhere://bucket", "/proc/nothing/here"])
def test_a_place_that_cannot_be_used_is_named_at_the_start(
    house: House, upstream: FakeTorchServe, tmp_path: Path, place: str
) -> None:
    house.close()
    with pytest.raises(SettingsError, match=r"jobs\.content"):
        Gateway(settings_for(upstream, tmp_path, jobs={"directory": tmp_path / "jobs", "content": place}))


@pytest.fixture
def bucket_gateway(house: House, upstream: FakeTorchServe, tmp_path: Path) -> Iterator[Gateway]:
    """Its files lie in a bucket: $JOBS_BUCKET, or one in memory."""
    house.close()
    place = os.environ.get("JOBS_BUCKET", f"memory://{tmp_path}")
    jobs = {"directory": tmp_path / "jobs", "content": place}
    with Gateway(settings_for(upstream, tmp_path, jobs=jobs)) as gateway:
        wait_for_media(gateway)
        yield gateway


@pytest.mark.slow
def test_a_batch_with_files_in_a_bucket(bucket_gateway: Gateway, tone_wav: bytes, tmp_path: Path) -> None:
    base = f"{bucket_gateway.url}/v1"
    with openai.OpenAI(api_key="none", base_url=base, max_retries=0, timeout=60) as client:
        path = tmp_path / "large.wav"
        path.write_bytes(tone_wav)
        in_parts = client.uploads.upload_file_chunked(
            file=path, mime_type="audio/wav", purpose="user_data", part_size=30_000
        ).file
        assert in_parts is not None
        lines = [line(str(n), file_id=file_id, **WHOLE) for n, file_id in enumerate(
            (upload(client, tone_wav), in_parts.id)
        )]  # fmt: skip
        done = wait(client, submit(client, lines).id)
        assert done.status == "completed" and done.request_counts.completed == 2
        assert rows(client, done.output_file_id).keys() == {"0", "1"}
        some = http("GET", f"{base}/files/{in_parts.id}/content", headers={"Range": "bytes=0-3"})
        assert (some.status_code, some.content) == (206, b"RIFF")
        posted = http("POST", f"{bucket_gateway.url}/transcribe_async/", files={"file": tone_wav}).json()
        wait(client, posted["task_id"])
        task = http("GET", f"{bucket_gateway.url}/transcribe_async/{posted['task_id']}").json()
        assert task["result"]["text"] is not None and task["error"] is None
        assert client.files.delete(in_parts.id).deleted
        for file in client.files.list():
            client.files.delete(file.id)
    jobs = tmp_path / "jobs"
    assert not (jobs / "content").exists() and list((jobs / "incoming").iterdir()) == []
    bucket, root = fsspec.core.url_to_fs(bucket_gateway.settings.jobs.content, use_listings_cache=False)
    assert not bucket.exists(root) or bucket.ls(root) == []
