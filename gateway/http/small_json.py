"""A JSON body that fits in memory many times over."""

from __future__ import annotations

from typing import TypeVar

from pydantic import ValidationError
from starlette.requests import Request

from asr.errors import InvalidOption, TooLarge
from gateway.openapi.schemas import Shape

MAX_BODY_BYTES = 64 * 1024

S = TypeVar("S", bound=Shape)


async def small_json(request: Request, shape: type[S]) -> S:
    """The body, of which nothing is `{}`; raises TooLarge, or InvalidOption that names the field."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise TooLarge(f"the body is larger than {MAX_BODY_BYTES} bytes")
    try:
        return shape.model_validate_json(body or b"{}")
    except ValidationError as error:
        first = error.errors()[0]
        param = ".".join(map(str, first["loc"]))[:80]
        raise InvalidOption(f"{param or 'the body'}: {first['msg']}", param=param or None) from None
