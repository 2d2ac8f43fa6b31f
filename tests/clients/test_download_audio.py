"""download_audio with the real yt-dlp against a server on this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.clients.fake_server import FakeHandler, FakeServer, Received, plain, write_wav
from whisper_client.command_line import run

pytest.importorskip("yt_dlp")
import download_audio


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def wav(tmp_path: Path) -> bytes:
    return write_wav(tmp_path / "source.wav", 1.0).read_bytes()


def serve(server: FakeServer, content: bytes, content_type: str = "audio/wav") -> None:
    """yt-dlp asks for the page, its head and the file: the same answer to each."""
    server.play(*[plain(content, content_type)] * 5)


def files_in(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_link_to_a_file(
    server: FakeServer, wav: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    serve(server, wav)
    assert run(download_audio.main, [f"{server.root}/talk.wav"]) == 0
    path = Path(capsys.readouterr().out.strip())
    assert path.parent.resolve() == (tmp_path / "downloads").resolve() and path.suffix == ".wav"
    assert path.read_bytes() == wav
    assert len(files_in(tmp_path / "downloads")) == 1


@pytest.mark.parametrize(
    "name", ["..%2F..%2Fevil.wav", "%E0%A4%A8%E0%A4%AE%E0%A4%B8.wav", "a%3Ab%7Cc.wav", "-rf.wav"]
)
def test_names_stay_inside_the_folder(server: FakeServer, wav: bytes, tmp_path: Path, name: str) -> None:
    serve(server, wav)
    (path,) = download_audio.download(f"{server.root}/{name}", tmp_path / "deep" / "out", 1.0)
    assert path.parent == tmp_path / "deep" / "out"
    assert not set(path.name) & set('/\\:|*?"<>')
    assert files_in(tmp_path) == [path.relative_to(tmp_path).as_posix(), "source.wav"]


def test_a_long_name_is_cut(server: FakeServer, wav: bytes, tmp_path: Path) -> None:
    serve(server, wav)
    (path,) = download_audio.download(f"{server.root}/{'%E0%A4%A8' * 200}.wav", tmp_path / "out", 1.0)
    assert len(path.name.encode()) <= 255


def test_a_file_above_the_limit_is_refused_and_removed(
    server: FakeServer, wav: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    serve(server, wav)
    assert run(download_audio.main, [f"{server.root}/big.wav", "--max-megabytes", "0.02"]) == 1
    assert "above 0.02 MB: give a larger --max-megabytes" in capsys.readouterr().err
    assert files_in(tmp_path) == ["source.wav"]


def test_a_file_that_hides_its_size_is_stopped_too(server: FakeServer, tmp_path: Path) -> None:
    """Chunks without end: only counting the bytes can stop them."""

    def endless(handler: FakeHandler, _: Received) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "audio/mpeg")
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        handler.close_connection = True
        try:
            for _ in range(2_000):
                handler.wfile.write(b"10000\r\n" + bytes(0x10000) + b"\r\n")
        except OSError:
            pass

    server.play(*[endless] * 5)
    with pytest.raises(download_audio.DownloadFailed, match=r"above 0.5 MB"):
        download_audio.download(f"{server.root}/endless.mp3", tmp_path / "out", 0.5)
    assert files_in(tmp_path / "out") == []


def test_failures_are_one_line(
    server: FakeServer, free_port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    server.play(*[plain(b"", "text/plain", 404)] * 5)
    assert run(download_audio.main, [f"{server.root}/gone.wav"]) == 1
    assert capsys.readouterr().err == "error: 127.0.0.1 answered 404: check the address\n"
    assert run(download_audio.main, [f"http://127.0.0.1:{free_port}/gone.wav"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("error: cannot reach 127.0.0.1: check the network") and len(err.splitlines()) == 1


def test_a_page_without_media(server: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    serve(server, b"<html><body>words</body></html>", "text/html")
    assert run(download_audio.main, [f"{server.root}/page"]) == 1
    assert "Unsupported URL" in capsys.readouterr().err


def test_bytes_that_are_no_audio_are_not_kept(
    server: FakeServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    serve(server, b"words, words, words" * 100, "application/octet-stream")
    assert run(download_audio.main, [f"{server.root}/talk.mp3"]) == 1
    captured = capsys.readouterr()
    assert "is no audio: check the address" in captured.err and not captured.out
    assert files_in(tmp_path) == []


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ytsearch:song", "talk.wav", "ftp://h/x", "http://"])
def test_other_addresses_are_wrong_usage(url: str) -> None:
    assert run(download_audio.main, [url]) == 2
