"""What a request about jobs is answered while their disk is full or their database away."""

from __future__ import annotations

import logging

import sqlalchemy as sa
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from asr.errors import Overloaded
from gateway.http.authentication import service_of
from gateway.http.failures import error_response

log = logging.getLogger(__name__)


def install(app: FastAPI) -> None:
    """Has the application answer 503 meanwhile: the client comes again, and nothing was written."""
    app.add_exception_handler(sa.exc.OperationalError, _overloaded)


async def _overloaded(request: Request, error: Exception) -> Response:
    assert isinstance(error, sa.exc.OperationalError)
    log.error("the jobs' database takes nothing: %s", error.orig)
    service_of(request).metrics.jobs.failed_writes.inc()
    return error_response(Overloaded("the jobs' database takes nothing now; try again later"))
