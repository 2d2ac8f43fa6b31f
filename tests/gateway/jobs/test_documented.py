"""The OpenAPI document with jobs, and the metrics that they move."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import openai
import pytest

from gateway.openapi import examples
from tests.gateway.jobs.conftest import ALICE, WHOLE, http, line, submit, upload, wait
from tests.gateway.served import Gateway

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[3]
PATHS = {
    "/v1/files": {"get", "post"},
    "/v1/files/{file_id}": {"get", "delete"},
    "/v1/files/{file_id}/content": {"get"},
    "/v1/uploads": {"post"},
    "/v1/uploads/{upload_id}/parts": {"post"},
    "/v1/uploads/{upload_id}/complete": {"post"},
    "/v1/uploads/{upload_id}/cancel": {"post"},
    "/v1/batches": {"get", "post"},
    "/v1/batches/{batch_id}": {"get"},
    "/v1/batches/{batch_id}/cancel": {"post"},
    "/transcribe_async/": {"post"},
    "/transcribe_async/{task_id}": {"get"},
}


@pytest.fixture(scope="module")
def document(gateway: Gateway) -> Any:
    return http("GET", f"{gateway.url}/openapi.json").json()


def test_every_route_is_there_with_errors_and_examples(document: dict[str, Any]) -> None:
    for path, methods in PATHS.items():
        assert document["paths"][path].keys() == methods
        for operation in document["paths"][path].values():
            assert operation["summary"] and operation["description"]
            assert "401" in operation["responses"] and "422" not in operation["responses"]
            for response in operation["responses"].values():
                for content in response["content"].values():
                    assert {"example", "examples"} & set(content), path


def test_the_samples_work_as_pasted(gateway: Gateway, document: dict[str, Any]) -> None:
    for path in ("/v1/files", "/transcribe_async/"):
        (sample,) = document["paths"][path]["post"]["x-codeSamples"]
        command = shlex.split(sample["source"].replace(examples.URL, gateway.url))
        key = ["--header", f"Authorization: Bearer {ALICE}", "--silent", "--fail-with-body"]
        done = subprocess.run([*command, *key], cwd=ROOT, capture_output=True, timeout=60, check=False)
        assert done.returncode == 0, (sample, done.stdout)


def test_every_call_needs_a_key(gateway: Gateway) -> None:
    for path, methods in PATHS.items():
        for method in methods:
            url = gateway.url + re.sub(r"\{\w+\}", "x", path)
            assert http(method.upper(), url).status_code == 401, path


def test_metrics(alice: openai.OpenAI, gateway: Gateway, tone_wav: bytes) -> None:
    audio = upload(alice, tone_wav)
    done = wait(alice, submit(alice, [line("0", file_id=audio, **WHOLE), line("1", url="https://x")]).id)
    assert done.request_counts.failed == 1
    gateway.app.state.jobs._count()
    text = http("GET", f"{gateway.url}/metrics").text
    values = dict(re.findall(r"^whisper_gateway_job_(\S+) (\S+)$", text, re.MULTILINE))
    assert float(values['lines_total{outcome="done"}']) >= 1
    assert float(values['lines_total{outcome="failed"}']) >= 1
    assert values["lines_running"] == "0.0" and float(values["stored_bytes"]) > 64_000
    assert float(values["line_seconds_count"]) >= 2
    assert 'batches{status="in_progress"}' in values


def test_the_database_holds_json_and_no_pickle(alice: openai.OpenAI, gateway: Gateway) -> None:
    wait(alice, submit(alice, ["{"]).id)
    with gateway.app.state.jobs.engine.connect() as connection:
        kinds = (
            connection.exec_driver_sql("SELECT DISTINCT serialization FROM workflow_status").scalars().all()
        )
    assert kinds == ["portable_json"]


def test_without_a_directory_there_are_no_jobs(upstream: Any, tmp_path: Path) -> None:
    from gateway.app import create_app
    from gateway.service import Service
    from tests.gateway.served import settings_for

    for jobs in ({}, {"directory": tmp_path, "enabled": False}):
        app = create_app(Service(settings_for(upstream, tmp_path, jobs=jobs)))
        assert not [path for path in app.openapi()["paths"] if path in PATHS]
