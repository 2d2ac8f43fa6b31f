"""A small JSON body → an object."""

from __future__ import annotations

import json
from typing import Any

from starlette.requests import Request

from asr.errors import InvalidOption, TooLarge

MAX_BYTES = 1_000_000


async def received_object(request: Request) -> dict[str, Any]:
    """The body; raises TooLarge and InvalidOption."""
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > MAX_BYTES:
            raise TooLarge(f"the body is larger than {MAX_BYTES} bytes")
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise InvalidOption(f"the body is no JSON: {error}"[:200]) from error
    if not isinstance(value, dict):
        raise InvalidOption("the body must be a JSON object")
    return value
