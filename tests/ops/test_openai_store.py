"""Downloads against a server on this machine: resumed, checked, never a half file under the real name."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from model_sources import openai_store
from model_sources.files import DownloadError, Unavailable
from model_sources.openai_store import download
from tests.ops.fake_store import CONTENT, SHA256, Store, running_store


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # the pauses between attempts
    with running_store() as state:
        yield state


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "models" / "model.pt"


def partial(target: Path) -> Path:
    return target.with_name("model.pt.partial")


def test_a_download_is_put_in_place_whole(store: Store, target: Path) -> None:
    seen: list[tuple[int, int]] = []
    assert download(store.url, target, SHA256, lambda done, total: seen.append((done, total))) == target
    assert target.read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert not partial(target).exists()
    assert store.ranges == [None]


def test_a_verified_file_is_not_downloaded_again(store: Store, target: Path) -> None:
    download(store.url, target, SHA256)
    download(store.url, target, SHA256)
    assert len(store.ranges) == 1


def test_an_interrupted_download_goes_on_where_it_stopped(store: Store, target: Path) -> None:
    target.parent.mkdir()
    partial(target).write_bytes(CONTENT[:1_234_567])
    download(store.url, target, SHA256)
    assert target.read_bytes() == CONTENT
    assert store.ranges == ["bytes=1234567-"]


def test_broken_connections_are_resumed_within_one_call(store: Store, target: Path) -> None:
    block = openai_store.NETWORK_BYTES
    store.cuts = [10 * block, 20 * block + 1]
    download(store.url, target, SHA256)
    assert target.read_bytes() == CONTENT
    assert store.ranges == [None, f"bytes={10 * block}-", f"bytes={30 * block}-"]


def test_a_body_that_stays_short_fails_and_keeps_what_came(store: Store, target: Path) -> None:
    store.cuts = [openai_store.NETWORK_BYTES] * openai_store.ATTEMPTS
    with pytest.raises(DownloadError, match=r"0\.3 MB are kept, run the command again"):
        download(store.url, target, SHA256)
    assert not target.exists()
    assert partial(target).read_bytes() == CONTENT[: openai_store.ATTEMPTS * openai_store.NETWORK_BYTES]


def test_a_server_that_cannot_resume_sends_all_of_it_again(store: Store, target: Path) -> None:
    store.resumable = False
    target.parent.mkdir()
    partial(target).write_bytes(b"x" * 1000)
    download(store.url, target, SHA256)
    assert target.read_bytes() == CONTENT


def test_a_complete_partial_file_is_only_checked(store: Store, target: Path) -> None:
    target.parent.mkdir()
    partial(target).write_bytes(CONTENT)
    download(store.url, target, SHA256)
    assert target.read_bytes() == CONTENT
    assert store.ranges == [f"bytes={len(CONTENT)}-"]


def test_a_partial_file_longer_than_the_model_is_started_again(store: Store, target: Path) -> None:
    target.parent.mkdir()
    partial(target).write_bytes(CONTENT + b"more")
    download(store.url, target, SHA256)
    assert target.read_bytes() == CONTENT


def test_a_wrong_hash_leaves_nothing(store: Store, target: Path) -> None:
    store.content = CONTENT[:-1] + b"?"
    with pytest.raises(DownloadError, match="SHA-256"):
        download(store.url, target, SHA256)
    assert list(target.parent.iterdir()) == []


def test_a_missing_file_is_not_asked_for_again(store: Store, target: Path) -> None:
    store.status = 404
    with pytest.raises(DownloadError, match=r"HTTP 404 Not Found: check the address .*--base-url"):
        download(store.url, target, SHA256)
    assert len(store.ranges) == 1
    assert list(target.parent.iterdir()) == []


def test_a_server_error_is_retried_then_reported(store: Store, target: Path) -> None:
    store.status = 503
    with pytest.raises(DownloadError, match="HTTP 503"):
        download(store.url, target, SHA256)
    assert len(store.ranges) == openai_store.ATTEMPTS


def test_no_server_is_one_line(store: Store, target: Path) -> None:
    with pytest.raises(DownloadError) as caught:
        download("http://127.0.0.1:9/model.pt", target, SHA256)
    assert "refused" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_another_file_under_the_name_is_not_overwritten(store: Store, target: Path) -> None:
    target.parent.mkdir()
    target.write_bytes(b"somebody's own weights")
    with pytest.raises(DownloadError, match="is not the published checkpoint"):
        download(store.url, target, SHA256)
    assert target.read_bytes() == b"somebody's own weights"
    assert store.ranges == []


def test_a_full_disk_is_seen_before_the_download(
    store: Store, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = os.statvfs_result((4096, 4096, 10, 10, 10, 10, 10, 10, 0, 255))
    monkeypatch.setattr("os.statvfs", lambda path: usage)
    with pytest.raises(DownloadError, match="no room in"):
        download(store.url, target, SHA256)


def test_two_downloads_of_one_file_do_not_mix(store: Store, target: Path) -> None:
    target.parent.mkdir()
    with partial(target).open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(DownloadError, match="another process is downloading"):
            download(store.url, target, SHA256)


def test_a_directory_that_cannot_be_written_is_one_line(store: Store, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DownloadError, match="cannot write"):
        download(store.url, tmp_path / "file" / "model.pt", SHA256)


def test_where_another_source_follows_nothing_is_tried_twice_in_vain(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openai_store.time, "sleep", lambda _: pytest.fail("it pauses to try again"))
    with pytest.raises(Unavailable, match="refused"):
        download("http://127.0.0.1:9/model.pt", target, SHA256, hasty=True)


def test_a_connection_that_brought_something_is_resumed_even_then(store: Store, target: Path) -> None:
    store.cuts = [openai_store.NETWORK_BYTES]
    download(store.url, target, SHA256, hasty=True)
    assert target.read_bytes() == CONTENT
    assert store.ranges == [None, f"bytes={openai_store.NETWORK_BYTES}-"]


def test_the_table_is_openai_whispers() -> None:
    import whisper

    ours = {
        name: f"{openai_store.BASE_URL}/{sha256}/{file}"
        for name, (sha256, file) in openai_store.CHECKPOINTS.items()
    }
    assert ours == whisper._MODELS
