"""The OpenAPI document, and requests made up from it: none gets a 5xx or an answer it does not describe."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from asr.fields import FIELDS
from gateway.app import create_app
from gateway.http.options import NOT_FOR_TRANSLATIONS
from gateway.settings import Settings
from tests.gateway.served import Gateway

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


@pytest.fixture(scope="module")
def document(gateway: Gateway) -> dict[str, Any]:
    document: dict[str, Any] = httpx2.get(f"{gateway.url}/openapi.json").json()
    return document


# the document does not depend on settings, so that pytest can collect a test per operation
schema = schemathesis.openapi.from_dict(create_app(Settings()).openapi())
schema = schema.exclude(path_regex="^/metrics")


@schema.parametrize()
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
def test_made_up_requests(case: schemathesis.Case, gateway: Gateway) -> None:
    case.headers.pop("X-Request-Deadline", None)  # a deadline of nothing at all is rightly a 504
    case.call_and_validate(base_url=gateway.url, checks=CHECKS, timeout=30)


@schema.include(method="POST").parametrize()
@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
def test_made_up_options_of_real_audio(case: schemathesis.Case, gateway: Gateway, tone_wav: bytes) -> None:
    case.headers.pop("X-Request-Deadline", None)
    if isinstance(case.body, dict):
        for name in ("file", "files"):
            if name in case.body:
                case.body[name] = [tone_wav] if name == "files" else tone_wav
        case.body.pop("model", None)
        case.body["language"] = "en"
    case.call_and_validate(base_url=gateway.url, checks=CHECKS, timeout=30)


def fields_of(document: dict[str, Any], path: str) -> set[str]:
    body = document["paths"][path]["post"]["requestBody"]
    names = body["content"]["multipart/form-data"]["schema"]["properties"]
    return {name.removesuffix("[]") for name in names}


def test_every_option_is_documented(document: dict[str, Any]) -> None:
    names = {field.name for field in FIELDS}
    assert fields_of(document, "/v1/audio/transcriptions") == names | {"file"}
    assert fields_of(document, "/v1/audio/translations") == (names | {"file"}) - set(NOT_FOR_TRANSLATIONS)


def test_every_operation_tells_its_errors(document: dict[str, Any]) -> None:
    for path, operations in document["paths"].items():
        for operation in operations.values():
            if operation["tags"] == ["audio"] or operation["tags"] == ["plain"]:
                assert {"400", "401", "413", "415", "429", "500", "503", "504"} <= set(
                    operation["responses"]
                ), path
                assert operation["summary"] and operation["description"]


def test_answers_have_examples(document: dict[str, Any]) -> None:
    content = document["paths"]["/v1/audio/transcriptions"]["post"]["responses"]["200"]["content"]
    assert content["text/event-stream"]["example"] and content["application/x-subrip"]["example"]
    assert document["components"]["schemas"]["Transcription"]["properties"]["text"]["examples"]


def test_the_page_shows_every_operation_and_needs_no_other_host(
    gateway: Gateway, document: dict[str, Any]
) -> None:
    page = httpx2.get(f"{gateway.url}/docs").text
    for path, operations in document["paths"].items():
        assert all(f"{method.upper()} {path}" in page for method in operations)
    for field in FIELDS:
        assert field.name in page
    assert "http://" not in page and "https://" not in page and "<script" not in page
