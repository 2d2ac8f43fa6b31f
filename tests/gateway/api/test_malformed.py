"""Forms, fields, boundaries and values that are wrong: each is refused in OpenAI's shape, or understood.

Never a 5xx, never a hang, never an upload left on disk.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from tests.gateway.api.malformed import CASES, PATHS, Case
from tests.gateway.served import Gateway

URL = "/v1/audio/transcriptions"
TIMEOUT_S = 60  # a hang


@pytest.fixture(scope="module")
def session(gateway: Gateway) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=gateway.url, timeout=TIMEOUT_S) as client:
        yield client


def assert_refusal(answer: httpx2.Response) -> None:
    error: dict[str, Any] = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert len(answer.content) < 4_000, "what was sent comes back at length"


@pytest.mark.parametrize("case", CASES, ids=lambda case: ascii(case.name))
def test_a_malformed_request(session: httpx2.Client, gateway: Gateway, case: Case) -> None:
    headers = [(name, value.encode("latin-1", "replace")) for name, value in case.headers]
    if case.content_type is not None:
        headers.append(("Content-Type", case.content_type.encode("latin-1")))
    answer = session.post(URL, content=case.body, headers=headers)
    assert answer.status_code in case.statuses, answer.text[:500]
    if answer.status_code == 200:
        assert answer.json()["text"]
    else:
        assert_refusal(answer)
    assert gateway.uploads == []


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("path", PATHS, ids=lambda path: ascii(path[:40]))
def test_a_path_that_leads_nowhere(session: httpx2.Client, method: str, path: str) -> None:
    answer = session.request(method, path)
    assert answer.status_code in (404, 405), answer.text[:500]
    assert_refusal(answer)


def test_the_table_is_as_long_as_it_claims() -> None:
    assert len(CASES) + 2 * len(PATHS) >= 200
    assert len({case.name for case in CASES}) == len(CASES)
