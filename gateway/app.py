"""The application: routes, middlewares, start and end of the service."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI

from gateway.http import failures
from gateway.http.earlier_answers import EarlierAnswers
from gateway.jobs import away
from gateway.jobs.job_service import Jobs
from gateway.middleware.head import HeadAsGet
from gateway.middleware.stack import add_middleware
from gateway.openapi import documents
from gateway.routes import (
    batches,
    compat,
    docs,
    files,
    health,
    models,
    page,
    realtime,
    transcriptions,
    uploads,
    visualize,
    webhooks,
    webservice,
)
from gateway.service import Service

TITLE = "Whisper on TorchServe"
DESCRIPTION = "OpenAI's audio API, served by TorchServe workers."
VERSION = "1.0"
ROUTERS = (
    transcriptions.router,
    realtime.router,
    models.router,
    compat.router,
    webservice.router,
    visualize.router,
    webhooks.router,
    health.router,
    docs.router,
    page.router,
)

JOB_ROUTERS = (files.router, uploads.router, batches.router, batches.tasks)


def create_app(service: Service) -> FastAPI:
    """The service as an ASGI application, which starts and closes it."""
    app = FastAPI(
        title=TITLE,
        description=DESCRIPTION,
        version=VERSION,
        lifespan=_lifespan,
        docs_url=None,  # Swagger's page loads scripts from another host
        redoc_url=None,
        telemetry=service.telemetry,
        generate_unique_id_function=lambda route: route.name,
    )
    settings = service.settings.jobs
    jobs = Jobs(service) if settings.enabled and settings.directory is not None else None
    app.state.service = service  # `service_of` reads it
    kept = service.settings.admission
    app.state.earlier_answers = EarlierAnswers(kept.max_kept_answer_bytes, kept.kept_answers_s)
    app.state.jobs = jobs  # `jobs_of` reads it; nothing else is there
    for router in (*ROUTERS, *(JOB_ROUTERS if jobs else ())):
        app.include_router(router)
    failures.install(app)
    away.install(app)
    _document(app)
    app.add_middleware(HeadAsGet)
    app.add_middleware(failures.CatchAll)
    add_middleware(app, service)
    return app


def _document(app: FastAPI) -> None:
    build = app.openapi

    def openapi() -> dict[str, Any]:
        return app.openapi_schema or documents.finished(build())

    app.openapi = openapi  # type: ignore[method-assign]


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    service: Service = app.state.service
    jobs: Jobs | None = app.state.jobs
    try:
        await service.start()
        if jobs is not None:
            await jobs.start()
        yield
    finally:
        if jobs is not None:
            await jobs.close()
        await service.close()
