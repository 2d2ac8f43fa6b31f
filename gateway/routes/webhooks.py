"""OpenAI's webhook endpoints, and the log of their deliveries."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from starlette.requests import Request

from gateway.api_errors import NotFound
from gateway.caller import Caller
from gateway.http.authentication import authenticated, service_of
from gateway.http.small_json import small_json
from gateway.job_rows import Rows
from gateway.jobs.job_service import Jobs
from gateway.openapi import documents
from gateway.openapi import webhook_schemas as shapes
from gateway.webhooks.delivery_log import shown_delivery
from gateway.webhooks.endpoints import EVENT_TYPES
from gateway.webhooks.webhooks import Webhooks

router = APIRouter(prefix="/v1", tags=["webhooks"])

ENDPOINT = "/webhook_endpoints/{webhook_endpoint_id}"
NOT_FOUND = shapes.refusal(
    404,
    "no such endpoint, or this server has no jobs",
    "there is no webhook endpoint 'we_1'",
    "webhook_endpoint_not_found",
)
DISABLED = shapes.refusal(
    409,
    "the endpoint is disabled",
    "the endpoint is disabled; update its url to enable it",
    "webhook_endpoint_disabled",
)
READ = documents.errors(400, 401, 429, 503) | NOT_FOUND
WRITE = READ | documents.errors(408, 413)

After = Annotated[str | None, Query(description="the last id of the page before")]
Limit = Annotated[int, Query(ge=1, le=100)]


class NoWebhooks(NotFound):
    code = "webhooks_off"


async def limited_caller(request: Request) -> Caller:
    """The caller; raises Unauthorized or RateLimited. Whether a worker is ready does not matter here."""
    caller = authenticated(request)
    await service_of(request).limiter.check_request(caller)
    return caller


def webhooks_of(request: Request) -> Webhooks:
    """The webhooks of the jobs; raises NoWebhooks."""
    jobs: Jobs | None = request.app.state.jobs
    if jobs is None or jobs.webhooks is None:
        raise NoWebhooks("this server keeps no jobs, and so it has no webhooks")
    return jobs.webhooks


LimitedCaller = Annotated[Caller, Depends(limited_caller)]  # first, so that strangers learn nothing
Parts = Annotated[Webhooks, Depends(webhooks_of)]


@router.get(
    "/webhook_event_types",
    dependencies=[Depends(limited_caller)],
    responses=documents.errors(401, 429)
    | documents.json_response("the types", {"object": "list", "data": list(EVENT_TYPES)}),
)
async def list_event_types() -> shapes.WebhookEventTypes:
    """The events that an endpoint may ask for."""
    return shapes.WebhookEventTypes(data=list(EVENT_TYPES))


@router.post(
    "/webhook_endpoints",
    responses=WRITE | documents.json_response("with its secret, this once", shapes.ENDPOINT_WITH_SECRET),
    openapi_extra=documents.json_body(shapes.WebhookEndpointRequest),
)
async def create_webhook_endpoint(
    caller: LimitedCaller, webhooks: Parts, request: Request
) -> shapes.WebhookEndpointWithSecret:
    """A URL that gets signed events of this key's jobs."""
    asked = await small_json(request, shapes.WebhookEndpointRequest)
    await webhooks.check_url(asked.url)
    endpoints = webhooks.endpoints
    row = await asyncio.to_thread(endpoints.create, caller.name, asked.name, asked.url, asked.event_types)
    return shapes.WebhookEndpointWithSecret(**endpoints.shown(row, with_secret=True))


@router.get(
    "/webhook_endpoints",
    responses=READ | documents.json_response("the newest first", shapes.list_example(shapes.ENDPOINT)),
)
async def list_webhook_endpoints(
    caller: LimitedCaller, webhooks: Parts, after: After = None, limit: Limit = 20
) -> shapes.WebhookEndpointList:
    """The endpoints of this key."""
    page = await asyncio.to_thread(webhooks.endpoints.page, caller.name, after, limit)
    return shapes.WebhookEndpointList(**_list_fields(page, webhooks.endpoints.shown))


@router.get(ENDPOINT, responses=READ | documents.json_response("the endpoint", shapes.ENDPOINT))
async def retrieve_webhook_endpoint(
    caller: LimitedCaller, webhooks: Parts, webhook_endpoint_id: str
) -> shapes.WebhookEndpoint:
    """One of them."""
    row = await asyncio.to_thread(webhooks.endpoints.get, caller.name, webhook_endpoint_id)
    return shapes.WebhookEndpoint(**webhooks.endpoints.shown(row))


@router.post(
    ENDPOINT,
    responses=WRITE | documents.json_response("the endpoint", shapes.ENDPOINT),
    openapi_extra=documents.json_body(shapes.WebhookEndpointUpdate),
)
async def update_webhook_endpoint(
    caller: LimitedCaller, webhooks: Parts, webhook_endpoint_id: str, request: Request
) -> shapes.WebhookEndpoint:
    """The same endpoint under another name, at another URL or for other events."""
    asked = await small_json(request, shapes.WebhookEndpointUpdate)
    if asked.url is not None:
        await webhooks.check_url(asked.url)
    changes = asked.model_dump(exclude_none=True)
    row = await asyncio.to_thread(webhooks.endpoints.update, caller.name, webhook_endpoint_id, changes)
    return shapes.WebhookEndpoint(**webhooks.endpoints.shown(row))


@router.delete(
    ENDPOINT,
    responses=READ | documents.json_response("it is gone", {
        "id": shapes.ENDPOINT["id"], "object": "webhook_endpoint.deleted", "deleted": True
    }),
)  # fmt: skip
async def delete_webhook_endpoint(
    caller: LimitedCaller, webhooks: Parts, webhook_endpoint_id: str
) -> shapes.DeletedWebhookEndpoint:
    """Ends its deliveries too."""
    await asyncio.to_thread(webhooks.endpoints.delete, caller.name, webhook_endpoint_id)
    return shapes.DeletedWebhookEndpoint(id=webhook_endpoint_id)


@router.post(
    f"{ENDPOINT}/rotate_secret",
    responses=WRITE | documents.json_response("with its new secret, this once", shapes.ENDPOINT_WITH_SECRET),
    openapi_extra=documents.json_body(shapes.SecretRotation),
)
async def rotate_webhook_secret(
    caller: LimitedCaller, webhooks: Parts, webhook_endpoint_id: str, request: Request
) -> shapes.WebhookEndpointWithSecret:
    """A new secret; the old one may sign beside it for 24 hours."""
    asked = await small_json(request, shapes.SecretRotation)
    keep_old = asked.keep_old_secret_active_for_24_hours
    endpoints = webhooks.endpoints
    row = await asyncio.to_thread(endpoints.rotate, caller.name, webhook_endpoint_id, keep_old=keep_old)
    return shapes.WebhookEndpointWithSecret(**endpoints.shown(row, with_secret=True))


@router.post(
    f"{ENDPOINT}/test",
    responses=WRITE
    | documents.json_response(
        "what the receiver answered",
        {
            "object": "webhook_endpoint.test",
            "webhook_endpoint_id": shapes.ENDPOINT["id"],
            "event_type": "batch.completed",
            "status_code": 200,
            "success": True,
        },
    ),
    openapi_extra=documents.json_body(shapes.WebhookTestRequest),
)
async def test_webhook_endpoint(
    caller: LimitedCaller, webhooks: Parts, webhook_endpoint_id: str, request: Request
) -> shapes.WebhookTestResult:
    """Sends a sample event at once, and not again."""
    asked = await small_json(request, shapes.WebhookTestRequest)
    status = await webhooks.test(caller.name, webhook_endpoint_id, asked.event_type)
    return shapes.WebhookTestResult(
        webhook_endpoint_id=webhook_endpoint_id, event_type=asked.event_type, status_code=status
    )


@router.get(
    f"{ENDPOINT}/deliveries",
    responses=READ | documents.json_response("the newest first", shapes.list_example(shapes.DELIVERY)),
)
async def list_webhook_deliveries(
    caller: LimitedCaller,
    webhooks: Parts,
    webhook_endpoint_id: str,
    after: After = None,
    limit: Limit = 20,
) -> shapes.WebhookDeliveryList:
    """What became of the events of the last days; not in OpenAI's API."""
    page = await asyncio.to_thread(webhooks.deliveries.page, caller.name, webhook_endpoint_id, after, limit)
    return shapes.WebhookDeliveryList(**_list_fields(page, shown_delivery))


@router.post(
    f"{ENDPOINT}/deliveries/{{delivery_id}}/redeliver",
    responses=READ | DISABLED | documents.json_response("it is due now", shapes.DELIVERY),
)
async def redeliver_webhook(
    caller: LimitedCaller, webhooks: Parts, webhook_endpoint_id: str, delivery_id: str
) -> shapes.WebhookDelivery:
    """Begins the schedule of a delivery again, whatever became of it; not in OpenAI's API."""
    row = await asyncio.to_thread(
        webhooks.deliveries.redeliver, caller.name, webhook_endpoint_id, delivery_id
    )
    webhooks.wake()
    return shapes.WebhookDelivery(**shown_delivery(row))


def _list_fields(page: Rows, shown: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
    data = [shown(row) for row in page.rows]
    return {
        "data": data,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
        "has_more": page.has_more,
    }
