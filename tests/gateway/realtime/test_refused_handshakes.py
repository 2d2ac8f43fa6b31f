"""Who may open a stream: everybody else gets an HTTP status and OpenAI's error body, before the upgrade."""

from __future__ import annotations

import json
from contextlib import ExitStack
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.gateway.fake_torchserve import FakeTorchServe
from tests.gateway.realtime.conftest import OpenStream, StartGateway
from tests.gateway.realtime.streams import stream
from tests.gateway.served import Gateway

KEY = "sk-right-0123456789"
KEYS = {"keys": [KEY, "sk-other-0123456789"]}
BEARER = {"Authorization": f"Bearer {KEY}"}


def refusal(gateway: Gateway, query: str = "intent=transcription", **options: Any) -> tuple[int, Any, Any]:
    """Status, error and headers of a handshake that fails."""
    address = f"{gateway.url.replace('http', 'ws', 1)}/v1/realtime?{query}"
    with pytest.raises(InvalidStatus) as refused, connect(address, **options):
        pass
    response = refused.value.response
    assert response.headers["X-Request-ID"]
    return response.status_code, json.loads(response.body or b"")["error"], response.headers


def test_no_key_and_a_wrong_one(start: StartGateway) -> None:
    gateway = start(access=KEYS)
    for headers in ({}, {"Authorization": "Bearer sk-wrong-0123456789"}):
        status, error, answer = refusal(gateway, additional_headers=headers)
        assert (status, error["code"]) == (401, "invalid_api_key")
        assert answer["WWW-Authenticate"] == "Bearer"


def test_a_key_in_the_header_or_in_a_subprotocol(start: StartGateway) -> None:
    gateway = start(access=KEYS)
    with stream(gateway.url, additional_headers=BEARER) as client:
        assert client.socket.subprotocol is None
    browser = ["realtime", f"openai-insecure-api-key.{KEY}", "openai-agents-sdk.0.20"]
    with stream(gateway.url, subprotocols=browser) as client:
        assert client.socket.subprotocol == "realtime"


def test_an_address_that_guesses_keys(start: StartGateway) -> None:
    gateway = start(access={**KEYS, "wrong_keys_per_minute_per_address": 2})
    statuses = [refusal(gateway)[0] for _ in range(3)]
    assert statuses == [401, 401, 429]


def test_too_many_streams_of_one_key_and_of_all(start: StartGateway) -> None:
    gateway = start(access=KEYS, realtime={"max_streams": 3, "max_streams_per_key": 2})
    other = {"Authorization": "Bearer sk-other-0123456789"}
    with ExitStack() as streams:
        for _ in range(2):
            streams.enter_context(stream(gateway.url, additional_headers=BEARER))
        status, error, headers = refusal(gateway, additional_headers=BEARER)
        assert (status, error["code"]) == (429, "too_many_streams") and int(headers["Retry-After"]) > 0
        streams.enter_context(stream(gateway.url, additional_headers=other))
        status, error, headers = refusal(gateway, additional_headers=other)
        assert (status, error["code"]) == (503, "too_many_streams") and int(headers["Retry-After"]) > 0
    with stream(gateway.url, additional_headers=BEARER):
        pass  # the places are free again


def test_more_requests_than_a_key_may_send(start: StartGateway) -> None:
    gateway = start(access={**KEYS, "requests_per_minute": 1})
    with stream(gateway.url, additional_headers=BEARER):
        status, error, headers = refusal(gateway, additional_headers=BEARER)
    assert (status, error["code"]) == (429, "rate_limit_exceeded") and headers["Retry-After"]


def test_before_a_model_is_there(tmp_path: Any) -> None:
    from tests.gateway.served import settings_for

    with FakeTorchServe() as gone:
        pass
    with Gateway(settings_for(gone, tmp_path), wait=False) as gateway:
        status, error, headers = refusal(gateway)
    assert (status, error["code"]) == (503, "not_ready") and headers["Retry-After"]


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [("model=nobody-9", 404, "model_not_found"), ("call_id=rtc_1", 400, "invalid_value")],
)
def test_an_address_that_means_nothing_here(live: Gateway, query: str, status: int, code: str) -> None:
    found, error, _ = refusal(live, query)
    assert (found, error["code"]) == (status, code)


@pytest.mark.parametrize(
    "query",
    [
        "",
        "intent=transcription",
        "model=whisper-1",
        "model=gpt-realtime-1.5",
        "intent=transcription&model=whisper",
    ],
)
def test_every_way_to_name_or_not_to_name_a_model(open_stream: OpenStream, query: str) -> None:
    with open_stream(query) as client:
        model = client.events[0]["session"]["audio"]["input"]["transcription"]["model"]
    assert model == dict(part.split("=") for part in query.split("&") if part).get("model", "fake")


def test_a_page_of_another_host_without_a_key(live: Gateway, start: StartGateway) -> None:
    status, error, _ = refusal(live, origin="https://elsewhere.example")
    assert (status, error["code"]) == (403, "foreign_origin")
    with stream(live.url, origin=live.url):
        pass
    with stream(start(access=KEYS).url, origin="https://elsewhere.example", additional_headers=BEARER):
        pass
    friend = start(server={"cors_origins": ["https://friend.example"]})
    with stream(friend.url, origin="https://friend.example"):
        pass
