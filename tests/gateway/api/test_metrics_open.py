"""/metrics, in which callers' names are: who reads it without a key."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from gateway.app import create_app
from gateway.service import Service
from gateway.settings import Settings

KEY = "key-of-alice-0123456789"
HERE = ("127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1")
ELSEWHERE = ("10.0.0.7", "203.0.113.9", "::ffff:10.0.0.7", "2001:db8::1", "", "testclient")


async def status(address: str, metrics_open: Any = None, key: str | None = None, **headers: str) -> int:
    observe = {} if metrics_open is None else {"metrics_open": metrics_open}
    app = create_app(Service(Settings(access={"keys": [KEY]}, observe=observe)))  # type: ignore[arg-type]
    transport = httpx2.ASGITransport(app, client=(address, 1234))
    async with httpx2.AsyncClient(transport=transport, base_url="http://gateway") as client:
        if key:
            headers["Authorization"] = f"Bearer {key}"
        return (await client.get("/metrics", headers=headers)).status_code


@pytest.mark.parametrize("address", HERE)
async def test_this_machine_needs_no_key(address: str) -> None:
    assert await status(address) == 200
    assert await status(address, **{"X-Forwarded-For": "203.0.113.9"}) == 401  # a proxy's client
    assert await status(address, metrics_open=False) == 401


@pytest.mark.parametrize("address", ELSEWHERE)
async def test_others_need_one(address: str) -> None:
    assert await status(address) == 401
    assert await status(address, key=KEY) == 200
    assert await status(address, metrics_open=True) == 200
