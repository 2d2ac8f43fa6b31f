"""Where the gateway does not go: addresses that are not public, in every form in which one can be written."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.outbound.addresses import inner_address, is_allowed
from gateway.outbound.outbound_errors import RefusedUrl
from gateway.outbound.target import target_of
from tests.gateway.outbound.conftest import OpenClient

NOT_PUBLIC = [
    "0.0.0.0", "10.1.2.3", "100.100.100.200", "127.0.0.1", "127.255.255.254", "168.63.129.16",
    "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.192", "192.168.1.1", "198.18.0.1",
    "203.0.113.7", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255",
    "::", "::1", "::127.0.0.1", "fe80::1", "fec0::1", "fc00::1", "fd00:ec2::254", "ff02::1", "100::1",
    "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254",
    "64:ff9b::7f00:1", "64:ff9b::169.254.169.254", "64:ff9b:1::1",
    "2002:7f00:1::", "2002:a9fe:a9fe::1", "2002:808:808::1", "2001::1", "2001:db8::1", "3fff::1", "5f00::1",
]  # fmt: skip
PUBLIC = ["8.8.8.8", "172.15.0.1", "172.32.0.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_an_address_that_is_not_public_is_refused_unless_listed(address: str) -> None:
    assert not is_allowed(ip_address(address), ())
    assert is_allowed(ip_address(address), (ip_network(address),))


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_allowed(address: str) -> None:
    assert is_allowed(ip_address(address), ())


def test_a_listed_network_holds_its_addresses_inside_ipv6_too() -> None:
    listed = (ip_network("10.20.0.0/16"),)
    assert is_allowed(ip_address("::ffff:10.20.1.1"), listed)
    assert not is_allowed(ip_address("::ffff:10.21.1.1"), listed)


@given(st.ip_addresses(v=4))
def test_what_python_calls_private_is_never_allowed(address: IPv4Address) -> None:
    mapped = IPv6Address(f"::ffff:{address}")
    assert is_allowed(mapped, ()) == is_allowed(address, ())
    if address.is_private or address.is_multicast or address.is_reserved or address.is_link_local:
        assert not is_allowed(address, ())


@given(st.ip_addresses(v=6))
def test_what_python_calls_private_in_ipv6_is_never_allowed(address: IPv6Address) -> None:
    if inner_address(address) is address and (not address.is_global or address.is_reserved):
        assert not is_allowed(address, ())


REFUSED = {
    "decimal": "https://2130706433/",
    "hexadecimal": "https://0x7f000001/",
    "hexadecimal parts": "https://0x7f.0.0.0x1/",
    "octal": "https://0177.0.0.1/",
    "short": "https://127.1/",
    "leading zeros": "https://127.000.000.001/",
    "five parts": "https://1.2.3.4.5/",
    "trailing dot": "https://127.0.0.1./x/..%2f",
    "zone": "https://[fe80::1%25eth0]/",
    "no address in brackets": "https://[localhost]/",
    "user": "https://user@files.example/",
    "password": "https://user:secret@files.example/",
    "user like a host": "https://files.example@127.0.0.1/",
    "backslash": "https://files.example\\@127.0.0.1/",
    "tab": "https://files.exa\tmple/",
    "line feed": "https://files.example/\r\nX-Evil: 1",
    "blank": "https://files.example/a b",
    "beyond ASCII": "https://files.exämple/",
    "full-width digits": "https://１２７.0.0.1/",
    "percent in the name": "https://%31%32%37.0.0.1/",
    "no host": "https:///path",
    "port 0": "https://files.example:0/",
    "port too large": "https://files.example:70000/",
    "no scheme": "files.example/a.wav",
    "http": "http://files.example/",
    "file": "file:///etc/passwd",
    "gopher": "gopher://files.example/",
    "long": "https://files.example/" + "x" * 3000,
    "long name": "https://" + "a." * 200 + "example/",
}


@pytest.mark.parametrize("url", REFUSED.values(), ids=REFUSED.keys())
async def test_a_url_that_can_be_read_in_two_ways_is_refused(url: str, open_client: OpenClient) -> None:
    client = open_client(allow_http=False, allowed_networks=())
    with pytest.raises(RefusedUrl) as refusal:
        await client.check(url)
    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize("address", ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "[64:ff9b::7f00:1]"])
async def test_an_address_in_the_url_is_checked_like_a_name(address: str, open_client: OpenClient) -> None:
    with pytest.raises(RefusedUrl, match="is at an address that this server does not connect to"):
        await open_client(allowed_networks=()).check(f"https://{address}/")


async def test_one_private_address_among_public_ones_is_enough(open_client: OpenClient) -> None:
    client = open_client({"mixed.example": [["8.8.8.8", "10.0.0.1"]]}, allowed_networks=())
    with pytest.raises(RefusedUrl):
        await client.check("https://mixed.example/")


async def test_a_listed_host_may_be_anywhere(open_client: OpenClient) -> None:
    names = {"receiver.internal": [["10.0.0.1"]], "other.internal": [["10.0.0.1"]]}
    client = open_client(names, allowed_networks=(), allowed_hosts=("Receiver.internal",))
    await client.check("https://receiver.internal/hook")
    with pytest.raises(RefusedUrl):
        await client.check("https://other.internal/hook")


def test_the_parts_of_a_url() -> None:
    target = target_of("HTTPS://Files.Example:8443/a%20b?x=1#part", allow_http=False)
    assert (target.host, target.port, target.path) == ("files.example", 8443, "/a%20b?x=1")
    assert target.authority == "files.example:8443"
    assert target_of("https://[2606:4700:0::1]", allow_http=False).authority == "[2606:4700::1]"
