"""Who sends a request: known before its body is read."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends
from starlette.requests import HTTPConnection, Request

from gateway.api_errors import Forbidden
from gateway.caller import Caller
from gateway.observe.record import current_record
from gateway.service import Service


def service_of(connection: HTTPConnection) -> Service:
    """The service of the application that answers the request or the WebSocket."""
    service: Service = connection.app.state.service
    return service


def authenticated(connection: HTTPConnection, authorization: str | None = None) -> Caller:
    """The caller; raises Unauthorized.

    authorization: read instead of the header, which browsers cannot send for a WebSocket.
    """
    address = connection.client.host if connection.client else ""
    authorization = authorization or connection.headers.get("Authorization")
    caller = service_of(connection).keys.authenticate(authorization, address)
    current_record().caller = caller.name
    return caller


async def admitted_caller(request: Request) -> Caller:
    """The caller of a request that counts against limits; raises Unauthorized, RateLimited or NotReady."""
    caller = authenticated(request)
    service = service_of(request)
    await service.limiter.check_request(caller)
    _ = service.fleet.default  # raises NotReady before the upload, not after it
    return caller


def check_metrics_reader(request: Request) -> None:
    """Raises Unauthorized if `observe.metrics_open` demands a key of this client and it has none."""
    is_open = service_of(request).settings.observe.metrics_open
    if is_open is True or (is_open == "loopback" and _is_on_this_machine(request)):
        return
    authenticated(request)


def check_may_load(request: Request, caller: Caller) -> None:
    """Raises Forbidden unless the caller may load and unload models: its key says so, or there are no keys
    and it is on this machine."""
    without_keys = not service_of(request).keys.configured
    is_ours = without_keys and _is_on_this_machine(request) and not _is_from_another_page(request)
    if not (caller.may_load or is_ours):
        raise Forbidden("loading and unloading models takes a key with `may_load: true` in the keys file")


def _is_on_this_machine(request: Request) -> bool:
    """Whether the client runs on this machine and is no proxy for others."""
    if request.client is None or "X-Forwarded-For" in request.headers or "Forwarded" in request.headers:
        return False
    try:
        address = ip_address(request.client.host)
    except ValueError:
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped  # one socket may listen for both
    return address.is_loopback


def _is_from_another_page(request: Request) -> bool:
    """Whether a browser sends it for a page of another host, which it lets any page do."""
    origin = request.headers.get("Origin")
    return origin is not None and urlsplit(origin).netloc != request.headers.get("Host")


# as a route's parameter, it refuses a request before the other parameters are checked
AdmittedCaller = Annotated[Caller, Depends(admitted_caller)]
