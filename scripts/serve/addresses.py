"""The addresses that the server listens on: allowed, and free."""

from __future__ import annotations

import errno
import ipaddress
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from scripts.serve.serve_error import ServeError

HTTP_ADDRESSES = ("inference_address", "management_address", "metrics_address")
GRPC_ADDRESSES = ("grpc_inference_address", "grpc_management_address")
GRPC_PORTS = ("grpc_inference_port", "grpc_management_port")
PORT_OPTIONS = {
    "inference_address": "--port",
    "management_address": "--management-port",
    "metrics_address": "--metrics-port",
    "gateway": "--gateway-port",
}


@dataclass(frozen=True, slots=True)
class Address:
    """One HTTP address of config.properties."""

    key: str  # the property it came from
    scheme: str
    host: str
    port: int

    @classmethod
    def parse(cls, key: str, value: str) -> Address:
        """The address in `value`, as in "http://127.0.0.1:8080"; raises ServeError."""
        try:
            parts = urlsplit(value)
            port = parts.port
        except ValueError as error:
            raise ServeError(f"{key} is {value!r}: {error}") from error
        if parts.scheme not in ("http", "https") or not parts.hostname or not port:
            raise ServeError(f"{key} is {value!r}, must look like http://127.0.0.1:8080")
        return cls(key, parts.scheme, parts.hostname, port)

    @property
    def url(self) -> str:
        """As a client on this machine calls it: a wildcard address is reached over loopback."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104  # replaced
        return f"{self.scheme}://{f'[{host}]' if ':' in host else host}:{self.port}"


def is_loopback(host: str) -> bool:
    """Whether every address that `host` stands for is reachable from this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        pass
    try:
        found = {str(info[4][0]) for info in socket.getaddrinfo(host, None)}
    except OSError:
        return False
    return bool(found) and all(ipaddress.ip_address(address).is_loopback for address in found)


def check_exposure(properties: Mapping[str, str]) -> None:
    """Raises ServeError if a stranger could reach an address without a key, or gRPC at all."""
    for key in GRPC_ADDRESSES:
        host = properties.get(key, "127.0.0.1")
        if not is_loopback(host):
            raise ServeError(
                f"{key} is {host!r}: gRPC clients can stop workers for good, keep it on 127.0.0.1"
            )
    if properties.get("disable_token_authorization", "false").strip().lower() != "true":
        return
    for key in HTTP_ADDRESSES:
        address = Address.parse(key, properties[key])
        if not is_loopback(address.host):
            raise ServeError(
                f"{key} {address.host}:{address.port} is reachable from other machines and token "
                f"authorization is off: add --token-auth, or keep it on 127.0.0.1 behind a proxy"
            )


def check_free(properties: Mapping[str, str], *others: Address) -> None:
    """Raises ServeError, naming the option to use, if a port is taken or two addresses share one."""
    addresses = [*(Address.parse(key, properties[key]) for key in HTTP_ADDRESSES), *others]
    for i, address in enumerate(addresses):
        option = PORT_OPTIONS[address.key]
        for other in addresses[:i]:
            if other.port == address.port:
                raise ServeError(
                    f"{other.key} and {address.key} share port {address.port}: choose another with {option}"
                )
        try:
            _bind(address.host, address.port)
        except OSError as error:
            raise ServeError(_cannot_bind(address, option, error)) from error


def free_ports(number: int, host: str = "127.0.0.1") -> list[int]:
    """`number` different TCP ports that nothing listens on right now."""
    held = [socket.socket() for _ in range(number)]
    try:
        for one in held:
            one.bind((host, 0))
        return [int(one.getsockname()[1]) for one in held]
    finally:
        for one in held:
            one.close()


def with_free_grpc_ports(properties: Mapping[str, str]) -> dict[str, str]:
    """`properties` with two free gRPC ports: nobody calls them, so they must not get in the way. Two servers
    that start at the same time would both find a fixed port free."""
    ports = free_ports(len(GRPC_PORTS))
    return dict(properties) | {key: str(port) for key, port in zip(GRPC_PORTS, ports, strict=True)}


def _bind(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # As the server binds: ports in TIME_WAIT after a restart are free, listening ones are not.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))


def _cannot_bind(address: Address, option: str, error: OSError) -> str:
    where = f"{address.host}:{address.port}"
    if error.errno == errno.EADDRINUSE:
        return f"port {where} is in use: stop what listens there, or choose another with {option}"
    if error.errno == errno.EACCES:
        return f"port {where} needs root: choose one above 1023 with {option}"
    return f"cannot listen on {where} ({error.strerror or error}): choose another with {option}"
