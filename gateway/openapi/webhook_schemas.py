"""The shapes of webhooks: OpenAI's, and the delivery log."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from gateway.openapi.examples import error
from gateway.openapi.schemas import Error, Shape

EventType = Literal["batch.completed", "batch.failed", "batch.expired", "batch.cancelled"]


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("must have printable characters only")
    return text


def _distinct(types: list[EventType]) -> list[EventType]:
    if len(set(types)) < len(types):
        raise ValueError("must name each type once")
    return types


Name = Annotated[str, Field(min_length=1, max_length=256), AfterValidator(_printable)]
Url = Annotated[str, Field(min_length=1, max_length=2_048, description="of a public host, by https")]
EventTypes = Annotated[list[EventType], Field(min_length=1), AfterValidator(_distinct)]


class WebhookEndpointRequest(Shape):
    name: Name
    url: Url
    event_types: EventTypes


class WebhookEndpointUpdate(Shape):
    """What is left out stays; a `url` also enables a disabled endpoint."""

    name: Name | None = None
    url: Url | None = None
    event_types: EventTypes | None = None


class SecretRotation(Shape):
    keep_old_secret_active_for_24_hours: bool = False


class WebhookTestRequest(Shape):
    event_type: EventType


class WebhookEndpoint(Shape):
    id: str = Field(examples=["we_6f1c…"])
    object: Literal["webhook_endpoint"]
    created_at: int = Field(description="Unix time")
    updated_at: int = Field(description="of the last change, a rotation included")
    name: str
    url: str
    event_types: list[EventType]
    signing_secret_hint: str = Field(examples=["whsec_…c4o="])
    disabled_at: int | None = Field(description="when its receiver answered 410; not in OpenAI's shape")


class WebhookEndpointWithSecret(WebhookEndpoint):
    signing_secret: str = Field(description="shown this once")


class WebhookEndpointList(Shape):
    object: Literal["list"] = "list"
    data: list[WebhookEndpoint]
    first_id: str | None
    last_id: str | None
    has_more: bool


class DeletedWebhookEndpoint(Shape):
    id: str
    object: Literal["webhook_endpoint.deleted"] = "webhook_endpoint.deleted"
    deleted: Literal[True] = True


class WebhookTestResult(Shape):
    object: Literal["webhook_endpoint.test"] = "webhook_endpoint.test"
    webhook_endpoint_id: str
    event_type: EventType
    status_code: int = Field(description="the receiver's")
    success: Literal[True] = True


class WebhookEventTypes(Shape):
    object: Literal["list"] = "list"
    data: list[EventType]


class WebhookAttempt(Shape):
    at: int
    seconds: float
    status_code: int | None = Field(description="null: no answer")
    error: str | None


class WebhookDelivery(Shape):
    id: str = Field(examples=["whd_91ab…"])
    object: Literal["webhook_endpoint.delivery"]
    webhook_endpoint_id: str
    event_id: str = Field(description="the `webhook-id` of every attempt")
    event_type: EventType
    status: Literal["pending", "delivered", "failed"]
    attempts: list[WebhookAttempt]
    next_attempt_at: int | None
    created_at: int
    finished_at: int | None


class WebhookDeliveryList(Shape):
    object: Literal["list"] = "list"
    data: list[WebhookDelivery]
    first_id: str | None
    last_id: str | None
    has_more: bool


ENDPOINT: dict[str, Any] = {
    "id": "we_6f1c6f0d1f6b4c0a9d0c0f4b8a1e2d3c",
    "object": "webhook_endpoint",
    "created_at": 1767225600,
    "updated_at": 1767225600,
    "name": "archive",
    "url": "https://archive.example/hooks",
    "event_types": ["batch.completed", "batch.failed"],
    "signing_secret_hint": "whsec_…c4o=",
    "disabled_at": None,
}
ENDPOINT_WITH_SECRET = ENDPOINT | {"signing_secret": "whsec_…"}
DELIVERY: dict[str, Any] = {
    "id": "whd_91ab3c0e6a4d4d3f8d2b7e1c5f0a9b8d",
    "object": "webhook_endpoint.delivery",
    "webhook_endpoint_id": ENDPOINT["id"],
    "event_id": "evt_0c9d8e7f6a5b4c3d2e1f0a9b8c7d6e5f",
    "event_type": "batch.completed",
    "status": "pending",
    "attempts": [{"at": 1767225601, "seconds": 0.08, "status_code": 503, "error": None}],
    "next_attempt_at": 1767225606,
    "created_at": 1767225600,
    "finished_at": None,
}


def list_example(example: dict[str, Any]) -> dict[str, Any]:
    """A page with one entry."""
    ends = {"first_id": example["id"], "last_id": example["id"]}
    return {"object": "list", "data": [example], **ends, "has_more": False}


def refusal(status: int, meaning: str, message: str, code: str) -> dict[int | str, dict[str, Any]]:
    """An error of these routes alone."""
    content = {"application/json": {"example": error(message, code)}}
    return {status: {"model": Error, "description": meaning, "content": content}}
