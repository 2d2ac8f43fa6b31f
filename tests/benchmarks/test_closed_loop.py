"""The closed loop: how many requests, how many at once, what counts as a failure."""

from __future__ import annotations

import threading

import pytest
import requests

from benchmarks.closed_loop import Level, closed_loop, num_requests


def test_every_client_waits_for_its_answer():
    lock, at_once, most = threading.Lock(), 0, 0
    together = threading.Barrier(3)

    def send():
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
        together.wait(20)
        with lock:
            at_once -= 1
        together.wait(20)
        return 200

    latencies, wall_s, failures = closed_loop(send, clients=3, count=9)
    assert (len(latencies), failures, most) == (9, 0, 3)
    assert latencies == sorted(latencies)
    assert latencies[-1] <= wall_s


def test_failures_are_no_latencies():
    answers = iter([200, 503, None, 200])

    def send():
        status = next(answers)
        if status is None:
            raise requests.ConnectionError("gone")
        return status

    latencies, _, failures = closed_loop(send, clients=1, count=4)
    assert (len(latencies), failures) == (2, 2)


def test_a_level_counts_answers_only():
    level = Level("file", 30.0, 2, (1.0, 2.0, 3.0), 6.0, failures=1)
    assert level.throughput == 15.0
    assert level.quantile(0.5) == 2.0


@pytest.mark.parametrize(
    ("clients", "seconds", "count"), [(1, 3, 6), (16, 30, 64), (64, 30, 192), (4, 300, 4)]
)
def test_enough_requests_and_not_too_many(clients, seconds, count):
    assert num_requests(clients, seconds) == count
