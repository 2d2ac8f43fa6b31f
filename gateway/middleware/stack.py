"""The middlewares in their order.

From the outside in: the client's address as a trusted proxy reports it; id, log line and metrics; security
headers; CORS; the gate of the drain; the guard of uploads.
"""

from __future__ import annotations

from fastapi import FastAPI
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from gateway.middleware.cors import Cors
from gateway.middleware.drain_gate import DrainGate
from gateway.middleware.request_context import ID_HEADER, MODEL_HEADER, RequestContext
from gateway.middleware.security_headers import SecurityHeaders
from gateway.middleware.upload_guard import UploadGuard
from gateway.service import Service

READABLE = (ID_HEADER, MODEL_HEADER, "Retry-After")  # headers that pages of other hosts may read


def add_middleware(app: FastAPI, service: Service) -> None:
    """Puts the middlewares around the application. Each call below wraps the ones above it."""
    settings = service.settings
    app.add_middleware(UploadGuard, settings=settings.media, uploads=service.metrics.uploads)
    app.add_middleware(DrainGate, drain=service.drain)
    if settings.server.cors_origins:
        app.add_middleware(
            Cors,
            allow_origins=settings.server.cors_origins,
            allow_methods=("GET", "POST", "DELETE"),
            allow_headers=("*",),
            expose_headers=READABLE,
        )
    app.add_middleware(SecurityHeaders, https=settings.server.tls_cert is not None)
    app.add_middleware(RequestContext, metrics=service.metrics, log_text=settings.observe.log_text)
    if settings.access.trusted_proxies:
        app.add_middleware(ProxyHeadersMiddleware, trusted_hosts=list(settings.access.trusted_proxies))
