"""Names → addresses that may be connected to."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address

from gateway.outbound.addresses import Address, Network, is_allowed
from gateway.outbound.outbound_errors import RefusedUrl, Unreachable

THREADS = 8  # a stranger's name server may never answer: the threads of other work are not for it

LookUp = Callable[[str], Awaitable[Collection[str]]]  # name → addresses as text; raises OSError


class SystemLookUp:
    """The machine's own resolver, in threads of its own."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="resolve")

    async def __call__(self, host: str) -> Collection[str]:
        found = await asyncio.get_running_loop().run_in_executor(self._threads, _addresses, host)
        return dict.fromkeys(found)

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


class Resolver:
    """Resolves a name once per request, which goes to the addresses found, whatever the name says later."""

    def __init__(self, look_up: LookUp, networks: Collection[Network], hosts: Collection[str]) -> None:
        """networks, hosts: allowed although their addresses are not public."""
        self._look_up = look_up
        self._networks = networks
        self._hosts = frozenset(host.lower().removesuffix(".") for host in hosts)

    async def addresses(self, host: str) -> tuple[Address, ...]:
        """All addresses of the host; raises Unreachable, or RefusedUrl if one of them may not be used."""
        found = tuple(map(ip_address, await self._found(host)))
        if not found:
            raise Unreachable(f"{host} has no address")
        if host.removesuffix(".") not in self._hosts:
            for address in found:
                if not is_allowed(address, self._networks):
                    raise RefusedUrl(f"{host} is at an address that this server does not connect to")
        return found

    async def _found(self, host: str) -> Collection[str]:
        try:
            return (str(ip_address(host)),)
        except ValueError:
            pass
        try:
            return await self._look_up(host)
        except OSError as error:
            raise Unreachable(f"{host} cannot be resolved") from error


def _addresses(host: str) -> list[str]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except UnicodeError as error:  # a label that Python's IDNA does not take
        raise OSError(str(error)) from error
    return [str(address[0]) for *_, address in found]
