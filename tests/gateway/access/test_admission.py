"""Admission: the bound, and what Retry-After is made of."""

from __future__ import annotations

import pytest

from gateway.access.admission import UNMEASURED_WAIT_S, Admission
from gateway.api_errors import QueueFull
from gateway.settings import AdmissionSettings


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def admission(clock: Clock, max_s: float = 100.0) -> Admission:
    return Admission(AdmissionSettings(max_queued_audio_s=max_s), clock)


def test_the_queue_is_bounded_by_seconds_of_audio() -> None:
    queue = admission(Clock())
    with queue.admit(60), queue.admit(40):
        with pytest.raises(QueueFull), queue.admit(1):
            pass
        assert queue.stats()["queued_audio_s"] == 100
    with queue.admit(100):
        assert queue.stats()["requests"] == 1
    assert queue.stats()["queued_audio_s"] == 0


def test_a_file_above_the_bound_is_admitted_alone() -> None:
    queue = admission(Clock())
    with queue.admit(500), pytest.raises(QueueFull), queue.admit(1):
        pass
    with queue.admit(1):
        pass


def test_a_request_that_fails_leaves_its_place() -> None:
    queue = admission(Clock())
    with pytest.raises(RuntimeError), queue.admit(100):
        raise RuntimeError
    assert queue.stats() == {"requests": 0, "queued_audio_s": 0, "audio_s_per_s": 0}


def test_retry_after_follows_the_measured_throughput() -> None:
    clock = Clock()
    queue = admission(clock)
    for _ in range(200):  # ten seconds of audio per second
        with queue.admit(20):
            clock.now += 2
    assert queue.stats()["audio_s_per_s"] == pytest.approx(10, rel=0.02)
    with queue.admit(100), pytest.raises(QueueFull) as refusal, queue.admit(50):
        pass
    assert refusal.value.retry_after_s == pytest.approx(5, rel=0.02)
    assert refusal.value.headers == {"Retry-After": "5"}


def test_idle_time_does_not_count_as_slow() -> None:
    clock = Clock()
    queue = admission(clock)
    for _ in range(20):
        with queue.admit(20):
            clock.now += 2
        clock.now += 10_000
    assert queue.stats()["audio_s_per_s"] == pytest.approx(10, rel=0.05)


def test_a_slower_server_is_noticed() -> None:
    clock = Clock()
    queue = admission(clock)
    for seconds in [1] * 100 + [10] * 60:
        with queue.admit(10):
            clock.now += seconds
    assert queue.stats()["audio_s_per_s"] == pytest.approx(1, rel=0.1)


def test_before_anything_was_measured_the_wait_is_a_guess() -> None:
    queue = admission(Clock())
    with queue.admit(100), pytest.raises(QueueFull) as refusal, queue.admit(50):
        pass
    assert refusal.value.retry_after_s == UNMEASURED_WAIT_S
