"""What the routes of files and batches read from a request."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, Response

from gateway.caller import Caller
from gateway.http.authentication import authenticated, service_of
from gateway.jobs.job_service import Jobs
from gateway.jobs.refusals import Refused
from gateway.jobs.replies import Asked, Reply

RESPOND_ASYNC = "respond-async"  # a preference of RFC 7240
KEY_HEADER = "Idempotency-Key"
REPLAYED_HEADER = "Idempotency-Replayed"
RETRY_HEADER = "x-stainless-retry-count"  # of OpenAI's clients
MAX_KEY_CHARS = 255


def jobs_of(connection: HTTPConnection) -> Jobs:
    """The jobs of the application that answers the request, which has them."""
    jobs: Jobs = connection.app.state.jobs
    return jobs


def prefers_async(request: Request) -> bool:
    """Whether the client prefers a batch to waiting, and there are jobs here."""
    preferences = ",".join(request.headers.getlist("Prefer")).lower().split(",")
    asks = RESPOND_ASYNC in (one.partition(";")[0].strip() for one in preferences)
    return asks and request.app.state.jobs is not None


async def job_caller(request: Request) -> Caller:
    """The caller; raises Unauthorized, and RateLimited for a request that makes something. The model need
    not be loaded."""
    caller = authenticated(request)
    if request.method == "POST":
        await service_of(request).limiter.check_request(caller)
    return caller


JobCaller = Annotated[Caller, Depends(job_caller)]


def asked(request: Request, caller: Caller) -> Asked:
    """Who asks, and whether it is for the second time; raises Refused."""
    name = request.headers.get(KEY_HEADER)
    if name is not None and not (name.isascii() and 1 <= len(name) <= MAX_KEY_CHARS):
        raise Refused(f"{KEY_HEADER} must have 1 to {MAX_KEY_CHARS} characters", param=KEY_HEADER)
    retries = request.headers.get(RETRY_HEADER, "")
    is_retry = name is None and retries.isascii() and retries.isdigit() and int(retries[:9]) > 0
    return Asked(caller.name, request.url.path[:128], name, is_retry)


def replied(reply: Reply, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """The answer to a request that may have come before."""
    replayed = {REPLAYED_HEADER: "true"} if reply.is_replayed else {}
    return JSONResponse(reply.body, status, headers={**(headers or {}), **replayed})
