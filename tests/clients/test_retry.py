"""When a request is sent again: by table and by property, without a clock."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisper_client.retry import HTTP_507, WORKER_DIED, RetryPolicy, parse_retry_after, retry_cause

NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("status", "body", "cause"),
    [
        (200, b"", None),
        (400, b"Worker died.", None),
        (404, b"", None),
        (413, b"", None),
        (415, b"", None),
        (429, b"", "http 429"),
        (500, b'{"code": 500, "message": "Worker died."}', WORKER_DIED),
        (500, b'{"error": {"code": "engine_failure"}}', None),
        (502, b"", "http 502"),
        (503, b"", "http 503"),
        (504, b"", "http 504"),
        (507, b"", HTTP_507),
    ],
)
def test_which_answers_deserve_another_try(status: int, body: bytes, cause: str | None) -> None:
    assert retry_cause(status, body) == cause


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("3", 3.0),
        (" 0 ", 0.0),
        ("Sat, 21 Nov 2026 12:00:07 GMT", 7.0),
        ("Sat, 21 Nov 2026 12:00:07 -0000", 7.0),
        ("Sat, 21 Nov 2026 11:00:00 GMT", 0.0),  # already past
        ("soon", None),
        ("-1", None),
        ("1.5", None),
        ("²", None),
        ("", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(header: str | None, seconds: float | None) -> None:
    assert parse_retry_after(header, NOW) == seconds


@pytest.mark.parametrize(
    ("failures", "least", "most"), [(1, 0.25, 0.5), (2, 0.5, 1.0), (3, 1.0, 2.0), (6, 7.5, 15.0)]
)
def test_waits_double_up_to_the_cap(failures: int, least: float, most: float) -> None:
    policy = RetryPolicy()
    causes = ["http 503"] * failures
    assert policy.wait_s(causes, None, 0.0) == least
    assert policy.wait_s(causes, None, 1.0) == most


def test_patience_ends() -> None:
    policy = RetryPolicy(retries=2)
    assert policy.wait_s(["timeout"] * 2, None, 0.5) is not None
    assert policy.wait_s(["timeout"] * 3, None, 0.5) is None
    assert RetryPolicy(retries=0).wait_s(["timeout"], None, 0.5) is None


def test_a_file_that_kills_workers_is_sent_less_often() -> None:
    policy = RetryPolicy(retries=6, worker_retries=3)
    assert policy.wait_s([WORKER_DIED, HTTP_507, WORKER_DIED], None, 0.5) is not None
    assert policy.wait_s([WORKER_DIED, HTTP_507, WORKER_DIED, WORKER_DIED], None, 0.5) is None
    assert policy.wait_s([WORKER_DIED, "http 503", "http 503", "http 503"], None, 0.5) is not None


def test_the_server_knows_better_how_long() -> None:
    policy = RetryPolicy()
    assert policy.wait_s(["http 503"], 20.0, 0.0) == 20.0
    assert policy.wait_s(["http 503"], 0.0, 0.0) == 0.0
    assert policy.wait_s(["http 503"], policy.max_retry_after_s + 1, 0.0) is None


@given(
    causes=st.lists(st.sampled_from(["http 503", "timeout", "connection"]), min_size=1, max_size=200),
    asked=st.none() | st.floats(0, 1e6),
    fraction=st.floats(0, 1, exclude_max=True),
)
def test_a_wait_is_bounded(causes: list[str], asked: float | None, fraction: float) -> None:
    policy = RetryPolicy(retries=1000)
    wait_s = policy.wait_s(causes, asked, fraction)
    if asked is not None and asked > policy.max_retry_after_s:
        assert wait_s is None
    elif asked is not None:
        assert wait_s is not None and asked <= wait_s <= asked + policy.base_s
    else:
        assert wait_s is not None and policy.base_s / 2 <= wait_s <= policy.cap_s
