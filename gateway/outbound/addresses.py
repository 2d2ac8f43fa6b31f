"""Which addresses the gateway connects to at a stranger's word: public ones, and those in the settings.

The networks are IANA's special-purpose registries, written out: what Python's `is_global` says of them
differs from one Python to the next.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

NOT_PUBLIC = tuple(
    map(
        ip_network,
        (
            "0.0.0.0/8",  # this host
            "10.0.0.0/8",
            "100.64.0.0/10",  # carriers' own; a cloud's metadata at 100.100.100.200
            "127.0.0.0/8",
            "168.63.129.16/32",  # Azure's host agent, on a public address
            "169.254.0.0/16",  # link-local; most clouds' metadata
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.2.0/24",
            "192.88.99.0/24",
            "192.168.0.0/16",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",  # reserved, and broadcast
            "2001::/23",  # Teredo, ORCHID, benchmarks
            "2001:db8::/32",
            "2002::/16",  # 6to4: any IPv4 address in disguise
            "3fff::/20",
        ),
    )
)
PUBLIC_IPV6 = IPv6Network("2000::/3")  # all that is handed out; loopback, private and multicast lie beyond
NAT64 = IPv6Network("64:ff9b::/96")  # the last 32 bits are an IPv4 address


def inner_address(address: Address) -> Address:
    """The IPv4 address that an IPv6 address leads to; the address itself if it is no such."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in NAT64:
            return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address


def is_allowed(address: Address, listed: Iterable[Network]) -> bool:
    """Whether the gateway may connect to this address.

    listed: networks that are allowed although they are not public.
    """
    inner = inner_address(address)
    if any(one in network for network in listed for one in (address, inner)):
        return True
    if isinstance(inner, IPv6Address) and inner not in PUBLIC_IPV6:
        return False
    return not any(inner in network for network in NOT_PUBLIC)
