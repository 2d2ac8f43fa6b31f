"""Liveness, readiness and metrics, all answered from memory."""

from __future__ import annotations

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gateway.http.authentication import check_metrics_reader, service_of

router = APIRouter(tags=["health"])

NEVER_STORED = {"Cache-Control": "no-store"}


@router.get("/health/live")
async def live() -> JSONResponse:
    """200 as long as the process answers at all."""
    return JSONResponse({"status": "live"}, headers=NEVER_STORED)


@router.get("/health/ready", responses={503: {"description": "Not ready; `reasons` says why."}})
async def ready(request: Request) -> JSONResponse:
    """200 while a request would be answered: a canary passed lately and the server is not going down."""
    service = service_of(request)
    reasons = []
    if service.drain.draining:
        reasons.append("the server is going down")
    if not service.fleet.ready:
        reasons.append("no upstream has answered its canary lately")
    body = {"status": "not ready" if reasons else "ready", "reasons": reasons}
    return JSONResponse(body, 503 if reasons else 200, headers=NEVER_STORED)


@router.get("/metrics", response_class=Response)
async def metrics(request: Request) -> Response:
    """Prometheus metrics of this process."""
    check_metrics_reader(request)
    text = service_of(request).metrics.exposition()
    return Response(text, headers=NEVER_STORED | {"Content-Type": CONTENT_TYPE_LATEST})
