"""The OpenAPI document, and requests made up from it: none gets a 5xx or an answer it does not describe."""

from __future__ import annotations

import base64
import html
import shlex
import subprocess
from pathlib import Path
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

from asr.request.fields import FIELDS
from gateway.app import create_app
from gateway.http.options import NOT_FOR_TRANSLATIONS
from gateway.openapi import examples, schemas, webhook_schemas
from gateway.service import Service
from gateway.settings import Settings
from tests.gateway.served import Gateway

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[3]
FORM = "multipart/form-data"
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
schema = schemathesis.openapi.from_dict(create_app(Service(Settings())).openapi())
schema = schema.exclude(
    path_regex="^/(metrics|v1/webhook_)"
)  # tests/gateway/webhooks has a gateway with these


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
        for name in ("file", "files", "audio_file"):
            if name in case.body:
                case.body[name] = [tone_wav] if name == "files" else tone_wav
        if "audio" in case.body:
            case.body["audio"] = base64.b64encode(tone_wav).decode()
        case.body.pop("model", None)
        case.body["language"] = "en"
    case.call_and_validate(base_url=gateway.url, checks=CHECKS, timeout=30)


def fields_of(document: dict[str, Any], path: str) -> set[str]:
    body = document["paths"][path]["post"]["requestBody"]
    form, as_json = (body["content"][kind]["schema"]["properties"] for kind in (FORM, "application/json"))
    names = {name.removesuffix("[]") for name in form}
    assert names - {"file"} == set(as_json) - {"audio"}
    return names


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
    """Each answer but pictures and those for operators, and each error; /docs shows them."""
    for path, operations in document["paths"].items():
        for operation in operations.values():
            assert "422" not in operation["responses"], "a bad parameter is a 400"
            for response in operation["responses"].values() if operation["tags"] != ["health"] else ():
                for media_type, content in response["content"].items():
                    assert media_type.startswith("image/") or {"example", "examples"} & set(content), path


@pytest.mark.parametrize(
    ("shape", "example"),
    [
        (schemas.Transcription, examples.JSON),
        (schemas.TranscriptionVerbose, examples.VERBOSE_JSON),
        (schemas.Text, examples.PLAIN),
        (schemas.DetectedLanguage, examples.DETECTED_LANGUAGE),
        (schemas.BatchResults, examples.BATCH),
        (schemas.ModelList, examples.MODELS),
        (webhook_schemas.WebhookEndpointWithSecret, webhook_schemas.ENDPOINT_WITH_SECRET),
        (webhook_schemas.WebhookDelivery, webhook_schemas.DELIVERY),
        *((schemas.Error, error) for error in examples.ERRORS.values()),
    ],
)
def test_the_examples_have_the_shapes_they_show(shape: type[schemas.Shape], example: Any) -> None:
    assert shape.model_validate(example, strict=True).model_dump(exclude_unset=True) == example


def test_the_samples_work_as_pasted(gateway: Gateway, document: dict[str, Any]) -> None:
    page = html.unescape(httpx2.get(f"{gateway.url}/docs").text)
    samples = [
        sample["source"].replace(examples.URL, gateway.url)
        for operations in document["paths"].values()
        for operation in operations.values()
        for sample in operation.get("x-codeSamples", ())
    ]
    assert len(samples) == 8
    for sample in samples:
        assert sample in page
        command = [*shlex.split(sample), "--silent", "--fail-with-body", "--output", "-"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=60, check=False)
        assert done.returncode == 0 and done.stdout, (sample, done.stdout)


def test_the_page_shows_every_operation_and_needs_no_other_host(
    gateway: Gateway, document: dict[str, Any]
) -> None:
    page = httpx2.get(f"{gateway.url}/docs").text
    for path, operations in document["paths"].items():
        assert all(f"{method.upper()} {path}" in page for method in operations)
    for field in FIELDS:
        assert field.name in page
    elsewhere = page.replace(gateway.url, "").replace(webhook_schemas.ENDPOINT["url"], "")
    assert "http://" not in elsewhere and "https://" not in elsewhere and "<script" not in page
