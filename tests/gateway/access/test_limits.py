"""Rate limits: per key, per address, shared through Redis, open when it is gone."""

from __future__ import annotations

import logging
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from asr.errors import TooLarge
from gateway.access.limits import Limiter, SlidingMinute
from gateway.api_errors import RateLimited
from gateway.caller import Caller
from gateway.settings import AccessSettings, SettingsError
from tests.processes import started

ALICE = Caller(name="alice", requests_per_minute=3, audio_seconds_per_minute=60, address="10.0.0.1")
BOB = Caller(name="bob", address="10.0.0.1")


async def passed(limiter: Limiter, caller: Caller, tries: int) -> int:
    """The number of `tries` requests that pass."""
    count = 0
    for _ in range(tries):
        try:
            await limiter.check_request(caller)
            count += 1
        except RateLimited as refusal:
            assert 1 <= refusal.retry_after_s <= 120
    return count


async def test_requests_are_counted_per_key() -> None:
    limiter = Limiter(AccessSettings())
    assert await passed(limiter, ALICE, 5) == 3
    assert await passed(limiter, BOB, 50) == 50  # no limit of its own


async def test_requests_are_counted_per_address_whatever_the_key() -> None:
    limiter = Limiter(AccessSettings(requests_per_minute_per_address=4))
    assert await passed(limiter, ALICE, 3) + await passed(limiter, BOB, 3) == 4


async def test_callers_without_a_key_are_told_apart_by_address() -> None:
    limiter = Limiter(AccessSettings())
    here, there = (Caller(requests_per_minute=2, address=address) for address in ("10.0.0.1", "10.0.0.2"))
    assert await passed(limiter, here, 3) == 2
    assert await passed(limiter, there, 3) == 2
    with pytest.raises(RateLimited, match="rate limit of this address: 2 requests"):
        await limiter.check_request(here)
    assert await passed(limiter, ALICE, 3) == 3
    with pytest.raises(RateLimited, match="rate limit of this key: 3 requests"):
        await limiter.check_request(ALICE)


async def test_every_file_of_a_batch_costs_a_request() -> None:
    limiter = Limiter(AccessSettings(requests_per_minute_per_address=5))
    await limiter.check_request(ALICE)
    await limiter.check_batch(ALICE, 3)
    assert await passed(limiter, ALICE, 1) == 0  # three of three
    assert await passed(limiter, BOB, 5) == 2  # of the address's five


async def test_a_batch_that_does_not_fit_now_is_told_when_and_one_that_never_fits_so() -> None:
    limiter = Limiter(AccessSettings(requests_per_minute_per_address=5))
    await limiter.check_request(ALICE)
    await limiter.check_request(ALICE)
    with pytest.raises(RateLimited) as refusal:
        await limiter.check_batch(ALICE, 3)
    assert 1 <= refusal.value.retry_after_s <= 120
    with pytest.raises(TooLarge, match=r"the form has 4 files, .* you may send 3 requests per minute"):
        await limiter.check_batch(ALICE, 4)
    with pytest.raises(TooLarge, match="you may send 5 requests"):
        await limiter.check_batch(BOB, 6)


async def test_audio_is_paid_by_the_second() -> None:
    limiter = Limiter(AccessSettings())
    await limiter.check_audio(ALICE, 50.2)
    with pytest.raises(RateLimited) as refusal:
        await limiter.check_audio(ALICE, 10)
    assert refusal.value.status == 429
    await limiter.check_audio(ALICE, 9)


async def test_a_file_that_no_minute_can_hold_is_refused_for_good() -> None:
    limiter = Limiter(AccessSettings())
    with pytest.raises(TooLarge, match="60 s per minute"):
        await limiter.check_audio(ALICE, 61)


@pytest.mark.parametrize(
    ("window", "cost", "expected"),
    [
        (SlidingMinute(0, 0, 40, 90), 20, 0),  # it fits now
        (SlidingMinute(60, 30, 30, 90), 10, 10),  # the older minute must weigh 20 instead of 30
        (SlidingMinute(0, 0, 60, 90), 60, 90),  # this minute must end, and be forgotten
        (SlidingMinute(0, 0, 60, 90), 30, 60),  # … or half forgotten
        (SlidingMinute(0, 0, 60, 60), 1, 1),  # it ends now
    ],
)
def test_the_wait_is_until_the_cost_fits(window: SlidingMinute, cost: int, expected: float) -> None:
    assert window.wait_s(60, cost) == pytest.approx(expected)


def test_a_storage_that_nobody_knows_is_named() -> None:
    with pytest.raises(SettingsError, match=r"access\.storage_url cannot be used .* postgres://\*\*\*@x\)"):
        Limiter(AccessSettings(storage_url="postgres://:hunter2@x"))


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A Redis server's URL and process."""
    pytest.importorskip("redis")
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("no redis-server")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [program, "--port", str(port), "--save", "", "--dir", str(tmp_path), "--daemonize", "no"]
    with started(command, stdout=subprocess.DEVNULL) as process:
        _wait_for(port)
        yield f"redis://127.0.0.1:{port}/0", process


def _wait_for(port: int) -> None:
    give_up = time.monotonic() + 20
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if time.monotonic() > give_up:
                raise
            time.sleep(0.02)


async def test_gateways_share_a_budget_through_redis(redis: tuple[str, subprocess.Popen[bytes]]) -> None:
    first, second = (Limiter(AccessSettings(storage_url=redis[0])) for _ in range(2))
    assert await passed(first, ALICE, 2) + await passed(second, ALICE, 2) == 3
    await first.check_audio(ALICE, 40)
    with pytest.raises(RateLimited):
        await second.check_audio(ALICE, 40)


async def test_without_redis_everything_passes_and_the_log_says_so(
    redis: tuple[str, subprocess.Popen[bytes]], caplog: pytest.LogCaptureFixture
) -> None:
    url, process = redis
    limiter = Limiter(AccessSettings(storage_url=url))
    assert await passed(limiter, ALICE, 4) == 3
    process.kill()
    process.wait()
    with caplog.at_level(logging.ERROR):
        assert await passed(limiter, ALICE, 20) == 20
        await limiter.check_audio(ALICE, 60)
    assert [record.levelname for record in caplog.records] == ["ERROR"]  # once, not per request
    assert "rate limits are off" in caplog.text
