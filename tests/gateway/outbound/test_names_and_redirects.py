"""Fetching through names that change, redirects that lead astray, and certificates of others."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from gateway.outbound.outbound_errors import (
    BadAnswer,
    RefusedUrl,
    Unreachable,
)
from gateway.settings_errors import SettingsError
from tests.gateway.outbound.conftest import (
    NAME,
    Certificate,
    Names,
    OpenClient,
    Site,
    moved,
    refused,
    to,
)

Serve = Callable[..., Awaitable[Site]]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 4000\r\n\r\n" + b"RIFF" * 1000


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
