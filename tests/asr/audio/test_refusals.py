"""Uploads that are refused, and what an upload may never open."""

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from asr.audio import media
from asr.audio.reader import FORMATS, MAX_SAMPLE_RATE
from asr.config import Limits
from asr.errors import AsrError, InvalidAudio, TooLarge, UnsupportedMedia
from tests.asr import containers
from tests.asr.audio.decoding import BY_NAME, LIMITS, SECONDS, decode
from tests.asr.containers import CONTAINERS, Container

NOT_AUDIO = {
    "text": b"hello, I am not audio at all\n" * 100,
    "one byte": b"\x00",
    "zeros": bytes(100_000),
    "png": b"\x89PNG\r\n\x1a\n" + bytes(5000),
    "html": b"<!DOCTYPE html><html><body>404</body></html>",
    "json": b'{"file": "UklGRg=="}',
    "zip": b"PK\x03\x04" + bytes(1000),
    "pdf": b"%PDF-1.7\n" + bytes(1000),
    "mp4 without its index": containers.stored(BY_NAME["m4a"], SECONDS)[:3000],
    "video only": containers.video(with_audio=False),
    "wav header alone": containers.wav(containers.tone(1.0))[:20],
}


@pytest.mark.parametrize("body", NOT_AUDIO.values(), ids=NOT_AUDIO.keys())
def test_what_is_not_audio_is_refused(body: bytes) -> None:
    with pytest.raises(UnsupportedMedia, match="not audio this server can decode") as caught:
        decode(body)
    assert (caught.value.status, caught.value.param) == (415, "file")


def test_nothing_and_no_samples_are_refused() -> None:
    with pytest.raises(InvalidAudio, match="empty"):
        decode(b"")
    with pytest.raises(InvalidAudio, match="without any audio samples"):
        decode(containers.riff(b"", channels=1))


@pytest.mark.parametrize(("rate", "channels"), [(1, 1), (3999, 1), (MAX_SAMPLE_RATE + 1, 1), (16_000, 33)])
def test_absurd_rates_and_channel_counts_are_refused(rate: int, channels: int) -> None:
    body = bytearray(containers.wav(containers.tone(1.0)))
    struct.pack_into("<HI", body, 22, channels, rate)
    struct.pack_into("<IH", body, 28, min(2 * rate * channels, 2**32 - 1), 2 * channels)
    with pytest.raises(UnsupportedMedia, match=r"sample rate|channels"):
        decode(body)


def test_too_many_bytes_are_refused() -> None:
    with pytest.raises(TooLarge, match="1000 bytes, this server takes at most 999"):
        decode(bytes(1000), Limits(max_upload_bytes=999))


@pytest.mark.parametrize("container", CONTAINERS, ids=lambda container: container.name)
def test_too_long_is_refused_naming_both_lengths(container: Container) -> None:
    body = containers.stored(container, SECONDS)
    with pytest.raises(TooLarge, match=r"lasts (3|more than 1) s, this server takes at most 1 s"):
        decode(body, Limits(max_audio_seconds=1))


def test_the_limit_itself_is_allowed() -> None:
    body = containers.wav(containers.tone(2.0))
    assert len(decode(body, Limits(max_audio_seconds=2.0))) == 32_000
    with pytest.raises(TooLarge, match=r"more than 1\.99 s"):
        decode(body, Limits(max_audio_seconds=1.99))


@pytest.fixture
def listener() -> Iterator[tuple[int, list[bytes]]]:
    """A listening socket's port, and what connects to it says."""
    said: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.1)
        stop = threading.Event()

        def accept() -> None:
            while not stop.is_set():
                try:
                    connection, _ = server.accept()
                except TimeoutError:
                    continue
                with connection:
                    connection.settimeout(0.5)
                    said.append(connection.recv(100))

        thread = threading.Thread(target=accept)
        thread.start()
        yield server.getsockname()[1], said
        stop.set()
        thread.join(timeout=5)


def playlists(port: int, secret: Path) -> dict[str, bytes]:
    url, path = f"http://127.0.0.1:{port}/a.wav", str(secret)
    dash = f"""<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period>
        <AdaptationSet mimeType="audio/mp4"><Representation id="1" bandwidth="1"><BaseURL>{url}</BaseURL>
        <SegmentBase/></Representation></AdaptationSet></Period></MPD>"""
    sdp = f"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio {port} RTP/AVP 0\n"
    hls = "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{}\n#EXT-X-ENDLIST\n"
    return {
        "hls to an address": hls.format(url).encode(),
        "hls to a file": hls.format(f"file://{path}").encode(),
        "hls to a bare path": hls.format(path).encode(),
        "concat to an address": f"ffconcat version 1.0\nfile '{url}'\n".encode(),
        "concat to a file": f"ffconcat version 1.0\nfile '{path}'\n".encode(),
        "sdp": sdp.encode(),
        "dash": dash.encode(),
        "m3u": f"{url}\n".encode(),
    }


def test_playlists_open_neither_files_nor_addresses(
    listener: tuple[int, list[bytes]], tmp_path: Path
) -> None:
    port, said = listener
    secret = tmp_path / "secret.wav"
    secret.write_bytes(containers.wav(containers.tone(1.0)))
    for name, body in playlists(port, secret).items():
        with pytest.raises(UnsupportedMedia):
            pytest.fail(f"{name} gave {media.decode(body, LIMITS)}")
    time.sleep(0.3)
    assert said == []


def test_a_quicktime_reference_is_not_followed(listener: tuple[int, list[bytes]]) -> None:
    port, said = listener
    body = bytearray(containers.stored(BY_NAME["mov_pcm"], SECONDS))
    url = f"http://127.0.0.1:{port}/a.wav\0".encode()
    dref = body.find(b"url \x00\x00\x00\x01")
    assert dref > 0
    body[dref + 7] = 0  # not "in this file": the reference counts
    body += url
    with contextlib.suppress(AsrError):
        decode(body)
    time.sleep(0.3)
    assert said == []


def test_only_formats_that_hold_their_own_audio_are_allowed() -> None:
    allowed = set(FORMATS.split(","))
    assert not allowed & {
        "hls",
        "concat",
        "dash",
        "sdp",
        "rtsp",
        "image2",
        "lavfi",
        "tee",
        "imf",
        "applehttp",
        "rtp",
    }
