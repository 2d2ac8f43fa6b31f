"""JSON bodies that fit in memory many times over: as a shape, or as an object that its reader checks."""

from __future__ import annotations

import json
from typing import Any, TypeVar

from pydantic import ValidationError
from starlette.requests import Request

from asr.errors import InvalidOption, TooLarge
from gateway.openapi.schemas import Shape

MAX_SHAPE_BYTES = 64 * 1024
MAX_OBJECT_BYTES = 1_000_000

S = TypeVar("S", bound=Shape)


async def small_json(request: Request, shape: type[S]) -> S:
    """The body, of which nothing is `{}`; raises TooLarge, or InvalidOption that names the field."""
    body = await _received(request, MAX_SHAPE_BYTES)
    try:
        return shape.model_validate_json(body or b"{}")
    except ValidationError as error:
        first = error.errors()[0]
        param = ".".join(map(str, first["loc"]))[:80]
        raise InvalidOption(f"{param or 'the body'}: {first['msg']}", param=param or None) from None


async def received_object(request: Request) -> dict[str, Any]:
    """The body; raises TooLarge and InvalidOption."""
    body = await _received(request, MAX_OBJECT_BYTES)
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise InvalidOption(f"the body is no JSON: {error}"[:200]) from error
    if not isinstance(value, dict):
        raise InvalidOption("the body must be a JSON object")
    return value


async def _received(request: Request, max_bytes: int) -> bytearray:
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > max_bytes:
            raise TooLarge(f"the body is larger than {max_bytes} bytes")
    return body
