"""Fetching a file from servers that mean harm."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from asr.errors import AsrError
from gateway.outbound.audio_fetch import AudioFetch
from gateway.outbound.errors import (
    BadAnswer,
    Broken,
    FetchingOff,
    OutboundError,
    RefusedUrl,
    TooLong,
    Unreachable,
)
from gateway.settings_errors import SettingsError
from tests.gateway.outbound.conftest import MAX_BYTES, NAME, Certificate, Names, OpenClient, Site

Serve = Callable[..., Awaitable[Site]]
CONTENT = b"RIFF" * 1000
OK = b"HTTP/1.1 200 OK\r\nContent-Type: audio/wav\r\nContent-Length: 4000\r\n\r\n" + CONTENT


def to(site: Site, path: str = "/a.wav", scheme: str = "http") -> str:
    return f"{scheme}://{NAME}:{site.port}{path}"


def moved(url: str) -> bytes:
    return f"HTTP/1.1 302 Found\r\nLocation: {url}\r\nContent-Length: 0\r\n\r\n".encode()


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


async def refused(client: object, url: str, path: Path, error: type[OutboundError], words: str) -> None:
    began = time.monotonic()
    with pytest.raises(error, match=words):
        await client.fetch(url, path)  # type: ignore[attr-defined]
    assert not path.exists()
    assert time.monotonic() - began < 3


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

    client = open_client(total_s=0.3, idle_s=5)
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


# ---- redirects


async def test_redirects_are_followed_a_few_times(
    serve: Serve, open_client: OpenClient, tmp_path: Path
) -> None:
    last = await serve(OK)
    middle = await serve(moved(to(last, "/b.wav")))
    first = await serve(moved("/there"))
    second = await serve(moved(to(middle)))
    client = open_client(max_redirects=2)
    fetched = await client.fetch(to(second), tmp_path / "a")
    assert fetched.url == to(last, "/b.wav")
    await refused(client, to(first), tmp_path / "b", BadAnswer, "more than 2 redirects")
    assert [request.split()[1] for request in first.requests] == [b"/a.wav", b"/there", b"/there"]


@pytest.mark.parametrize(
    "location",
    [
        "http://169.254.169.254/latest/meta-data/",
        "//169.254.169.254/",
        "http://[::ffff:169.254.169.254]/",
        "http://2852039166/",
        "http://metadata.example/",
        "file:///etc/passwd",
        "ftp://files.example/",
        "http://user:secret@files.example/",
    ],
)
async def test_a_redirect_into_the_private_network_is_refused(
    location: str, serve: Serve, open_client: OpenClient, tmp_path: Path
) -> None:
    names = {NAME: [["127.0.0.1"]], "metadata.example": [["169.254.169.254"]]}
    await refused(
        open_client(names),
        to(await serve(moved(location))),
        tmp_path / "a",
        RefusedUrl,
        "the URL|does not connect",
    )


async def test_no_redirect_leads_out_of_tls(
    serve: Serve, open_client: OpenClient, certificate: Certificate, tmp_path: Path
) -> None:
    there = await serve(OK)
    here = await serve(moved(to(there)), certificate)
    client = open_client(ca_file=certificate.file)
    await refused(client, to(here, scheme="https"), tmp_path / "a", RefusedUrl, "from https to http")
    assert there.requests == []


# ---- names and certificates


async def test_a_name_that_changes_its_address_is_asked_once(
    serve: Serve, open_client: OpenClient, tmp_path: Path
) -> None:
    """DNS rebinding: the second answer would be the attack."""
    site = await serve(OK)
    names = Names({NAME: [["127.0.0.1"], ["169.254.169.254"]]})
    await open_client(names).fetch(to(site), tmp_path / "a")
    assert names.asked == [NAME]
    await refused(open_client(names), to(site), tmp_path / "b", RefusedUrl, "does not connect to")


async def test_a_redirect_to_the_same_name_is_resolved_and_checked_again(
    serve: Serve, open_client: OpenClient, tmp_path: Path
) -> None:
    site = await serve(moved("/again"))
    names = Names({NAME: [["127.0.0.1"], ["10.0.0.1"]]})
    await refused(open_client(names), to(site), tmp_path / "a", RefusedUrl, "does not connect to")
    assert len(site.requests) == 1


async def test_the_next_address_is_tried(serve: Serve, open_client: OpenClient, tmp_path: Path) -> None:
    client = open_client({NAME: [["127.0.0.2", "127.0.0.1"]]})
    assert (await client.fetch(to(await serve(OK)), tmp_path / "a")).num_bytes == 4000


async def test_ipv6(serve: Serve, open_client: OpenClient, tmp_path: Path) -> None:
    try:
        site = await serve(OK, host="::1")
    except OSError:
        pytest.skip("no IPv6 on this machine")
    await open_client().fetch(f"http://[::1]:{site.port}/", tmp_path / "a")
    assert b"\r\nHost: [::1]:%d\r\n" % site.port in site.requests[0]


async def test_the_certificate_is_the_names(
    serve: Serve, open_client: OpenClient, certificate: Certificate, tmp_path: Path
) -> None:
    site = await serve(OK, certificate)
    names = {NAME: [["127.0.0.1"]], "other.example": [["127.0.0.1"]]}
    client = open_client(names, ca_file=certificate.file, allow_http=False)
    assert (await client.fetch(to(site, scheme="https"), tmp_path / "a")).num_bytes == 4000
    wrong = f"https://other.example:{site.port}/"
    await refused(client, wrong, tmp_path / "b", Unreachable, "TLS of other.example does not fit: Hostname")
    strange = open_client(names)
    await refused(strange, to(site, scheme="https"), tmp_path / "b", Unreachable, "self-signed certificate")


def test_a_file_of_authorities_that_is_none_is_named(open_client: OpenClient, tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("")
    for name in ("empty.pem", "missing.pem"):
        with pytest.raises(SettingsError, match=rf"outbound\.ca_file is '.*{name}'"):
            open_client(ca_file=tmp_path / name)


async def test_nobody_there(open_client: OpenClient, tmp_path: Path, serve: Serve) -> None:
    await refused(open_client(), "http://nowhere.example/", tmp_path / "a", Unreachable, "cannot be resolved")
    await refused(open_client(), f"http://{NAME}:1/", tmp_path / "a", Unreachable, "took no connection")


async def test_off_by_default(open_client: OpenClient, tmp_path: Path) -> None:
    words = r"outbound\.fetch is off"
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
