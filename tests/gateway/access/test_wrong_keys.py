"""Refusals are counted by address and minute, and forgotten."""

from __future__ import annotations

import pytest

from gateway.access.keys import KeyStore
from gateway.access.wrong_keys import WrongKeys
from gateway.api_errors import TooManyWrongKeys, Unauthorized
from gateway.settings import AccessSettings

KEY = "wsk-" + "a" * 40


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_an_address_that_is_refused_too_often_is_told_when_to_come_back() -> None:
    clock = Clock()
    store = KeyStore(AccessSettings(keys=(KEY,), wrong_keys_per_minute_per_address=3), clock)
    clock.now += 20
    for header in (None, "Bearer wrong", "Basic x"):
        with pytest.raises(Unauthorized):
            store.authenticate(header, "10.0.0.1")
    with pytest.raises(TooManyWrongKeys) as refusal:
        store.authenticate("Bearer wrong", "10.0.0.1")
    assert (refusal.value.status, refusal.value.retry_after_s) == (429, 40)
    with pytest.raises(Unauthorized):
        store.authenticate("Bearer wrong", "10.0.0.2")  # another address
    clock.now += 40
    with pytest.raises(Unauthorized):
        store.authenticate("Bearer wrong", "10.0.0.1")  # another minute


def test_a_right_key_passes_whatever_others_at_its_address_send() -> None:
    store = KeyStore(AccessSettings(keys=(KEY,), wrong_keys_per_minute_per_address=1))
    for _ in range(5):
        with pytest.raises((Unauthorized, TooManyWrongKeys)):
            store.authenticate("Bearer wrong", "10.0.0.1")
    assert store.authenticate(f"Bearer {KEY}", "10.0.0.1").name.startswith("key-")


def test_addresses_are_forgotten_with_their_minute() -> None:
    clock = Clock()
    wrong = WrongKeys(5, clock)
    for number in range(1_000):
        wrong.count(f"10.0.{number // 250}.{number % 250}")
    clock.now += 60
    wrong.count("10.0.0.1")
    assert len(wrong._counts) == 1


def test_without_a_limit_nobody_is_counted() -> None:
    wrong = WrongKeys(None, Clock())
    for _ in range(1_000):
        wrong.count("10.0.0.1")
    assert not wrong._counts
