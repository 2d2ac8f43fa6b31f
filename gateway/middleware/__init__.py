"""What every request passes on its way in and out.

`create_app` calls `add_middleware(app, settings)` last, after its own middlewares, with the service in
`app.state.service`. It leaves `app.state.metrics` and `app.state.drain` for the routes and for
`python -m gateway`. What is known of a request goes into `gateway.observe.record.current_record()`.

From the outside in: the client's address where a trusted proxy tells it; id, log line and metrics; security
headers; CORS; the gate of the drain; the guard of uploads.
"""

from __future__ import annotations

from fastapi import FastAPI
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from gateway.middleware.cors import Cors
from gateway.middleware.drain import Drain, DrainGate
from gateway.middleware.request_context import ID_HEADER, RequestContext
from gateway.middleware.security_headers import SecurityHeaders
from gateway.middleware.upload_guard import UploadGuard
from gateway.observe.metrics import Metrics
from gateway.observe.stats import StatsCollector
from gateway.settings import Settings

READABLE = (ID_HEADER, "Retry-After")  # headers that pages of other hosts may read


def add_middleware(app: FastAPI, settings: Settings) -> None:
    """Puts the middlewares around the application; each call below goes around those before it."""
    app.state.metrics = Metrics()
    app.state.metrics.registry.register(StatsCollector(lambda: app.state.service))
    app.state.drain = Drain()
    app.add_middleware(UploadGuard, settings=settings.media, uploads=app.state.metrics.uploads)
    app.add_middleware(DrainGate, drain=app.state.drain)
    if settings.server.cors_origins:
        app.add_middleware(
            Cors,
            allow_origins=settings.server.cors_origins,
            allow_methods=("GET", "POST"),
            allow_headers=("*",),
            expose_headers=READABLE,
        )
    app.add_middleware(SecurityHeaders, https=settings.server.tls_cert is not None)
    app.add_middleware(RequestContext, metrics=app.state.metrics, log_text=settings.observe.log_text)
    if settings.access.trusted_proxies:
        app.add_middleware(ProxyHeadersMiddleware, trusted_hosts=list(settings.access.trusted_proxies))
