"""Request ids, security headers, CORS, the client's address; what the log and the metrics know afterwards."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from gateway.observe.logs import JsonFormatter
from gateway.observe.record import current_record
from tests.gateway.middleware.tiny import Served, settings, tiny_app, until


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    chosen = settings(
        server={"cors_origins": ["https://here.example"]}, access={"trusted_proxies": ["127.0.0.0/8"]}
    )
    with Served(tiny_app(chosen)) as running:
        yield running


def get(served: Served, path: str, **headers: str) -> httpx2.Response:
    return httpx2.get(served.url + path, headers=headers, timeout=20)


def test_a_harmless_request_id_is_kept_and_another_is_replaced(served: Served) -> None:
    assert get(served, "/client", **{"X-Request-ID": "job-7.b"}).headers["x-request-id"] == "job-7.b"
    for bad in ("a b", "x" * 129, 'a"b', "", "a/../b"):
        answered = get(served, "/client", **{"X-Request-ID": bad}).headers["x-request-id"]
        assert re.fullmatch("[0-9a-f]{32}", answered)


@pytest.mark.parametrize("path", ["/client", "/nowhere", "/break", "/fail"])
def test_every_answer_has_id_and_security_headers(served: Served, path: str) -> None:
    headers = get(served, path).headers
    assert headers["x-request-id"]
    assert headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "strict-transport-security" not in headers  # it speaks plain HTTP


def test_hsts_with_tls() -> None:
    from gateway.middleware.security_headers import SecurityHeaders

    assert "Strict-Transport-Security" in SecurityHeaders(None, https=True)._headers  # type: ignore[arg-type]


def test_only_listed_origins_may_call(served: Served) -> None:
    allowed = get(served, "/nowhere", Origin="https://here.example").headers
    assert allowed["access-control-allow-origin"] == "https://here.example"
    assert "X-Request-ID" in allowed["access-control-expose-headers"]
    assert "access-control-allow-origin" not in get(served, "/client", Origin="https://evil.example").headers


def preflight(served: Served, origin: str) -> httpx2.Response:
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    return httpx2.options(f"{served.url}/nowhere", headers={"Origin": origin, **asked}, timeout=20)


def test_a_preflight_is_answered_before_anything_else(served: Served) -> None:
    allowed = preflight(served, "https://here.example")
    assert (allowed.status_code, allowed.headers["access-control-allow-headers"]) == (200, "authorization")
    refused = preflight(served, "https://evil.example")
    assert "access-control-allow-origin" not in refused.headers
    error = refused.json()["error"]
    assert (refused.status_code, error["param"], error["type"]) == (400, "Origin", "invalid_request_error")


def test_the_address_is_what_a_trusted_proxy_says(served: Served) -> None:
    assert get(served, "/client", **{"X-Forwarded-For": "203.0.113.9"}).json() == {"address": "203.0.113.9"}
    spoofed = get(served, "/client", **{"X-Forwarded-For": "10.1.1.1, 203.0.113.9"})
    assert spoofed.json() == {"address": "203.0.113.9"}  # the last one that no trusted proxy wrote


def test_nobody_is_a_proxy_by_default() -> None:
    with Served(tiny_app(settings()), proxy_headers=False) as plain:
        assert get(plain, "/client", **{"X-Forwarded-For": "203.0.113.9"}).json() == {"address": "127.0.0.1"}


def lines_of(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    records = [record for record in caplog.records if record.name == "gateway.request"]
    return [json.loads(JsonFormatter().format(record)) for record in records]


def test_one_line_per_request(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "gateway.request"):
        httpx2.post(f"{served.url}/read/secret-path", content=b"private words", timeout=20)
        get(served, "/fail")
        until(lambda: len(lines_of(caplog)) == 2)  # a line follows its answer
    read, failed = lines_of(caplog)
    assert (read["route"], read["status"], read["audio_s"], read["method"]) == (
        "/read/{name}", 200, 1.5, "POST",
    )  # fmt: skip
    assert (failed["route"], failed["status"], failed["error"]) == ("/fail", 500, "engine_failure")
    assert "private" not in json.dumps(read) and "secret" not in json.dumps(read)


def test_what_a_client_sends_is_never_a_label(served: Served) -> None:
    for path in ("/nowhere-at-all", "/read/a-name", "/client?secret=1"):
        get(served, path, **{"X-Request-ID": "a-name-of-mine"})
    httpx2.request("PURGE", f"{served.url}/client", timeout=20)
    counts = served.app.state.service.metrics.requests
    purged = counts.labels("/client", "405", "none", "none")
    until(lambda: purged._value.get() == 1)  # the last one is counted
    text = served.app.state.service.metrics.exposition().decode()
    assert 'route="/client"' in text
    for private in ("nowhere-at-all", "a-name", "secret", "PURGE"):
        assert private not in text


def test_bugs_are_logged_with_the_id_and_not_told(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    answer = get(served, "/break", **{"X-Request-ID": "the-bug"})
    assert (answer.status_code, "secret detail" in answer.text) == (500, False)
    assert "secret detail" in caplog.text


def test_outside_of_a_request_there_is_a_record_that_nobody_reads() -> None:
    current_record().audio_s = 3.0
    assert current_record().audio_s is None
