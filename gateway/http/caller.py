"""Who sends a request, before its body is read."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends
from starlette.requests import Request

from gateway.caller import Caller
from gateway.observe.record import current_record
from gateway.service import Service


def service_of(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


def authenticated(request: Request) -> Caller:
    """The caller; raises Unauthorized."""
    address = request.client.host if request.client else ""
    caller = service_of(request).keys.authenticate(request.headers.get("Authorization"), address)
    current_record().caller = caller.name
    return caller


async def admitted_caller(request: Request) -> Caller:
    """The caller of a request that costs something; raises Unauthorized, RateLimited or NotReady."""
    caller = authenticated(request)
    service = service_of(request)
    await service.limiter.check_request(caller)
    _ = service.dispatcher.spec  # NotReady is said before the upload, not after it
    return caller


# as a route's parameter: refused before its other parameters are looked at
AdmittedCaller = Annotated[Caller, Depends(admitted_caller)]
