"""The schedule: ten tries in three days, whatever receivers answer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.webhooks.retries import DELAYS_S, JITTER, MAX_TRIES, Outcome, retry_after_s, verdict

CHANCE = st.floats(0, 1)
FAILURES = st.sampled_from([None, 302, 400, 404, 500, 503])
HOUR_S = 3600


@given(st.lists(st.tuples(CHANCE, FAILURES), min_size=MAX_TRIES, max_size=MAX_TRIES))
def test_a_receiver_that_stays_away_gets_ten_tries_in_about_75_hours(
    tries: list[tuple[float, int | None]],
) -> None:
    total_s = 0.0
    for number, (chance, status) in enumerate(tries, 1):
        follows = verdict(number, Outcome(status), chance)
        assert (follows.status == "failed") == (number == MAX_TRIES)
        assert not follows.disables
        total_s += follows.next_in_s
    assert 75 * HOUR_S * (1 - JITTER) <= total_s <= 76 * HOUR_S * (1 + JITTER)


@given(st.integers(1, MAX_TRIES - 1), CHANCE)
def test_a_pause_is_the_schedules_within_its_jitter(tries: int, chance: float) -> None:
    pause_s = verdict(tries, Outcome(500), chance).next_in_s
    assert abs(pause_s / DELAYS_S[tries] - 1) <= JITTER + 1e-9


@given(st.integers(1, MAX_TRIES - 1), CHANCE, st.floats(0, 1e9), st.sampled_from([429, 502, 503, 504]))
def test_retry_after_makes_a_pause_longer_and_never_shorter_or_endless(
    tries: int, chance: float, asked_s: float, status: int
) -> None:
    plain_s = verdict(tries, Outcome(status), chance).next_in_s
    pause_s = verdict(tries, Outcome(status, None, asked_s), chance).next_in_s
    assert pause_s == max(plain_s, min(asked_s, 24 * HOUR_S))
    assert verdict(tries, Outcome(500, None, asked_s), chance) == verdict(tries, Outcome(500), chance)


@given(st.integers(1, MAX_TRIES), CHANCE, st.integers(200, 299))
def test_any_2xx_ends_it(tries: int, chance: float, status: int) -> None:
    assert verdict(tries, Outcome(status), chance).status == "delivered"


def test_410_ends_it_and_the_endpoint() -> None:
    follows = verdict(1, Outcome(410), 0.5)
    assert (follows.status, follows.disables) == ("failed", True)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7), (" 120 ", 120),
        ("Thu, 01 Jan 1970 00:18:20 GMT", 100), ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
        (None, None), ("", None), ("soon", None), ("-5", None), ("1.5", None), ("٣", None),
        ("Thu, 99 Jan 9999 99:00:00 GMT", None),
    ],
)  # fmt: skip
def test_retry_after_is_seconds_or_a_date(header: str | None, seconds: float | None) -> None:
    assert retry_after_s(header, now=1000) == seconds
