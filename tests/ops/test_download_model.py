"""Downloads against a server on this machine: resumed, checked, never a half file under the real name."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import io
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import download_model
from download_model import DownloadError, ProgressBar, download
from tests.ops.commands import ROOT, caller_environment, last_line, serve

CONTENT = bytes(range(256)) * 20_000  # 5 MB
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@dataclass
class Store:
    """What the server has, how it misbehaves, and what it was asked."""

    url: str = ""
    content: bytes = CONTENT
    status: int = 200
    resumable: bool = True
    cuts: list[int] = field(
        default_factory=list
    )  # bytes to send before the connection breaks, one per request
    ranges: list[str | None] = field(default_factory=list)


@pytest.fixture()
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # the pauses between attempts
    state = Store()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers.get("Range")
            state.ranges.append(asked)
            if state.status != 200:
                self.send_error(state.status)
                return
            start = int(asked[6:-1]) if asked and state.resumable else 0
            if start >= len(state.content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(state.content)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            body = state.content[start:]
            self.send_response(206 if start else 200)
            if start:
                last = len(state.content) - 1
                self.send_header("Content-Range", f"bytes {start}-{last}/{len(state.content)}")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.close_connection = True
            with contextlib.suppress(ConnectionError):  # the client went away, as in the full-disk test
                self.wfile.write(body[: state.cuts.pop(0)] if state.cuts else body)

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_port}/model.pt"
    yield state
    server.shutdown()
    server.server_close()
    thread.join(10)


@pytest.fixture()
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
    block = download_model.NETWORK_BYTES
    store.cuts = [10 * block, 20 * block + 1]
    download(store.url, target, SHA256)
    assert target.read_bytes() == CONTENT
    assert store.ranges == [None, f"bytes={10 * block}-", f"bytes={30 * block}-"]


def test_a_body_that_stays_short_fails_and_keeps_what_came(store: Store, target: Path) -> None:
    store.cuts = [download_model.NETWORK_BYTES] * download_model.ATTEMPTS
    with pytest.raises(DownloadError, match=r"0\.3 MB are kept, run the command again"):
        download(store.url, target, SHA256)
    assert not target.exists()
    assert partial(target).read_bytes() == CONTENT[: download_model.ATTEMPTS * download_model.NETWORK_BYTES]


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
    assert len(store.ranges) == download_model.ATTEMPTS


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


def test_the_table_is_openai_whispers() -> None:
    import whisper

    ours = {
        name: f"{download_model.BASE_URL}/{sha256}/{file}"
        for name, (sha256, file) in download_model.CHECKPOINTS.items()
    }
    assert ours == whisper._MODELS


def test_an_unknown_name_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=r"unknown model 'huge': choose one of tiny\.en"):
        download_model.download_model("huge", tmp_path)


def test_the_bar_ends_its_line_and_a_log_gets_few_lines() -> None:
    stream = io.StringIO()
    bar = ProgressBar("tiny", stream)
    for done in range(1001):
        bar(done * 1000, 1_000_000)
    lines = stream.getvalue().splitlines()
    assert len(lines) == 11
    assert "100 %" in lines[-1]


def run_command(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "clients" / "download_model.py"), *arguments],
        env=caller_environment(**environ),
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_the_command_fails_in_one_line(store: Store, tmp_path: Path) -> None:
    store.status = 404
    base_url = store.url.rpartition("/")[0]
    result = run_command("tiny.en", "--directory", str(tmp_path), "--base-url", base_url)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.count("\n") == 1
    assert "download_model.py: downloading http://" in result.stderr


def test_serve_sh_downloads_a_name_and_never_falls_back(store: Store) -> None:
    if (ROOT / "whisper-models" / "tiny.en.pt").exists():
        pytest.skip("tiny.en is there, nothing would be downloaded")
    from tests.ops.test_serve_command import ports

    store.status = 404
    result = serve("tiny.en", *ports(), WHISPER_MODELS_URL=store.url.rpartition("/")[0])
    assert result.returncode == 1
    assert re.fullmatch(
        "serve.sh: downloading http://.*/tiny.en.pt failed: HTTP 404 .*", last_line(result.stderr)
    )
    assert "starting TorchServe" not in result.stderr


def test_the_command_lists_the_names() -> None:
    result = run_command("--list")
    assert result.stdout.split() == list(download_model.CHECKPOINTS)


def test_a_reader_that_leaves_is_no_failure_to_tell(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "clients" / "download_model.py"), "--list"]
    reader, writer = os.pipe()
    os.close(reader)
    try:
        result = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, timeout=60)
    finally:
        os.close(writer)
    assert (result.returncode, result.stderr) == (1, "")
