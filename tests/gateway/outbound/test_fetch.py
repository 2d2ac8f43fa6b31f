"""Fetching a file from servers that mean harm."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from asr.errors import AsrError
from gateway.outbound.audio_fetch import AudioFetch
from gateway.outbound.outbound_errors import (
    BadAnswer,
    Broken,
    FetchingOff,
    OutboundError,
    TooLong,
)
from tests.gateway.outbound.conftest import (
    MAX_BYTES,
    NAME,
    OpenClient,
    Site,
    moved,
    refused,
    to,
)

Serve = Callable[..., Awaitable[Site]]
CONTENT = b"RIFF" * 1000
OK = b"HTTP/1.1 200 OK\r\nContent-Type: audio/wav\r\nContent-Length: 4000\r\n\r\n" + CONTENT


async def test_a_file_comes_with_its_size_and_digest(
    serve: Serve, open_client: OpenClient, tmp_path: Path
) -> None:
    site = await serve(OK)
    fetched = await open_client().fetch(to(site, "/a.wav?token=1"), tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == CONTENT
    assert (fetched.num_bytes, fetched.content_type) == (4000, "audio/wav")
    assert fetched.sha256 == hashlib.sha256(CONTENT).hexdigest()
    assert site.requests[0].startswith(b"GET /a.wav?token=1 HTTP/1.1\r\nHost: files.example:")


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabcde",
        b"HTTP/1.1 103 Early Hints\r\nContent-Length: 9\r\n\r\nHTTP/1.1 200 OK\r\n\r\nabcde",
        b"HTTP/1.0 200 OK\r\n\r\nabcde",  # it ends with the connection
    ],
)
async def test_every_way_to_end_an_answer(
    answer: bytes, serve: Serve, open_client: OpenClient, tmp_path: Path
) -> None:
    await open_client().fetch(to(await serve(answer)), tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == b"abcde"


BROKEN: dict[str, tuple[bytes, type[OutboundError], str]] = {
    "an error": (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", BadAnswer, "answered 404"),
    "announced too large": (b"HTTP/1.1 200 OK\r\nContent-Length: 999999\r\n\r\n", TooLong, "than 200000"),
    "cut off": (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", Broken, "middle of the answer"),
    "cut off in chunks": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nab", Broken, "middle"),
    "not HTTP": (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", Broken, "not HTTP"),
    "nothing": (b"", Broken, "ended before an answer"),
    "an upgrade": (
        b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", Broken, "not HTTP"
    ),
    "coded in transfer": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", BadAnswer, "transfer"
    ),
    "a gzip bomb": (
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + gzip.compress(bytes(5_000_000), 1),
        BadAnswer, "compressed",
    ),
    "two lengths": (
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 5\r\n\r\nabcde", Broken, "not HTTP"
    ),
}  # fmt: skip


@pytest.mark.parametrize(("answer", "error", "words"), BROKEN.values(), ids=BROKEN.keys())
async def test_a_bad_answer_leaves_no_file(
    answer: bytes,
    error: type[OutboundError],
    words: str,
    serve: Serve,
    open_client: OpenClient,
    tmp_path: Path,
) -> None:
    await refused(open_client(), to(await serve(answer)), tmp_path / "a", error, words)


async def test_an_endless_body_ends_at_the_cap(serve: Serve, open_client: OpenClient, tmp_path: Path) -> None:
    sent = 0

    async def for_ever(writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(bytes(10_000))
            await writer.drain()
            sent += 10_000

    await refused(open_client(), to(await serve(for_ever)), tmp_path / "a", TooLong, "more than")
    assert sent < MAX_BYTES + 8_000_000  # what the sockets hold


async def test_headers_without_an_end(serve: Serve, open_client: OpenClient, tmp_path: Path) -> None:
    async def for_ever(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n")
        while True:
            writer.write(b"X-More: " + b"x" * 1000 + b"\r\n")
            await writer.drain()

    await refused(open_client(), to(await serve(for_ever)), tmp_path / "a", Broken, "headers never end")


@pytest.mark.parametrize(
    "start", [b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n"]
)
async def test_a_slow_drip_is_cut_off(
    start: bytes, serve: Serve, open_client: OpenClient, tmp_path: Path
) -> None:
    async def drip(writer: asyncio.StreamWriter) -> None:
        writer.write(start)
        while True:
            writer.write(b"X")
            await writer.drain()
            await asyncio.sleep(0.02)

    client = open_client(total_s=0.3, idle_s=30)
    await refused(client, to(await serve(drip)), tmp_path / "a", Broken, r"longer than 0\.3 s")


@pytest.mark.parametrize("framing", [b"X-More: " + b"x" * 5000 + b"\r\n", b"x" * 5000])
async def test_trailers_without_an_end(
    framing: bytes, serve: Serve, open_client: OpenClient, tmp_path: Path
) -> None:
    async def for_ever(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: ")
        while True:
            writer.write(framing)
            await writer.drain()

    await refused(open_client(), to(await serve(for_ever)), tmp_path / "a", Broken, "more framing")


async def test_a_head_in_two_pieces_before_a_long_body(
    serve: Serve, open_client: OpenClient, tmp_path: Path
) -> None:
    async def send(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nX-First: 1\r\n")
        await asyncio.sleep(0.05)
        writer.write(b"Content-Length: 150000\r\n\r\n" + bytes(150_000))

    fetched = await open_client().fetch(to(await serve(send)), tmp_path / "a")
    assert fetched.num_bytes == 150_000


async def test_silence_is_cut_off(serve: Serve, open_client: OpenClient, tmp_path: Path) -> None:
    async def silent(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(30)

    client = open_client(idle_s=0.2)
    await refused(client, to(await serve(silent)), tmp_path / "a", Broken, r"no byte .* 0\.2 s")


async def test_off_by_default(open_client: OpenClient, tmp_path: Path) -> None:
    words = "outbound fetching is off"
    await refused(open_client(fetch=False), "https://files.example/", tmp_path / "a", FetchingOff, words)


async def test_a_jobs_line_gets_the_reason_as_its_own_error(
    serve: Serve, open_client: OpenClient, tmp_path: Path
) -> None:
    site = await serve(OK)
    fetch = AudioFetch(open_client())
    await fetch(to(site), tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == CONTENT
    for url, code in (("http://10.0.0.1/", "url_not_allowed"), (f"http://{NAME}:1/", "host_unreachable")):
        with pytest.raises(AsrError) as refusal:
            await fetch(url, tmp_path / "b")
        assert (refusal.value.status, refusal.value.code, refusal.value.param) == (400, code, "url")
    with pytest.raises(AsrError) as refusal:
        await fetch(to(site), tmp_path / "gone" / "a")
    assert refusal.value.status == 503


async def test_the_disks_faults_are_the_callers_to_explain(
    serve: Serve, open_client: OpenClient, tmp_path: Path
) -> None:
    site = await serve(OK)
    with pytest.raises(FileNotFoundError):
        await open_client().fetch(to(site), tmp_path / "gone" / "a")


async def test_a_status_counts_although_the_rest_drips(serve: Serve, open_client: OpenClient) -> None:
    async def drip(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.1)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.02)

    assert (await open_client().post(to(await serve(drip)), {}, b"", 0.3)).status == 200


async def test_a_post_gets_the_status_and_no_redirect(serve: Serve, open_client: OpenClient) -> None:
    async def drip(writer: asyncio.StreamWriter) -> None:
        writer.write(
            b"HTTP/1.1 429 No\r\nRetry-After: 7\r\nContent-Length: 99999999\r\n\r\n" + bytes(500_000)
        )
        await asyncio.sleep(30)

    site = await serve(moved("http://169.254.169.254/"))
    assert (await open_client().post(to(site), {"X": "1"}, b"{}", 5)).status == 302
    assert site.requests[0].endswith(b"\r\nX: 1\r\nContent-Length: 2\r\n\r\n{}")
    head = await open_client().post(to(await serve(drip)), {}, b"", 5)
    assert (head.status, head.headers["retry-after"]) == (429, "7")
