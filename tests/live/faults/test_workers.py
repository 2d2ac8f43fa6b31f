"""Workers that die, hang, run out of memory or come and go: no client notices more than a delay."""

from __future__ import annotations

import os
import signal
import time
from contextlib import ExitStack

import requests

from tests.live.faults.stack import RESPONSE_TIMEOUT_S, Gateway, crowd, load, starved, until
from tests.live.faults.table import record
from tests.live.faults.wellness import survived
from tests.servers import Server


def test_a_killed_worker_costs_no_request(server: Server, gateway: Gateway) -> None:
    with survived(server, gateway) as readiness, load(gateway, clients=8) as result:
        until(lambda: result.count >= 4)
        (old,) = server.worker_pids()
        readiness.broken_now()
        os.kill(old, signal.SIGKILL)
        before = result.count
        took = until(lambda: result.count > before + 8)
        assert server.worker_pids() != [old]
    result.assert_all_right()
    record(
        "worker `kill -9` under 8 clients",
        took,
        "eight further answers",
        "every answer right, no client retried",
        readiness.back_after_s,
    )


def test_a_hanging_worker_is_replaced(server: Server, gateway: Gateway) -> None:
    """Stopped, a worker takes a batch and never answers: TorchServe replaces it after responseTimeout."""
    (old,) = server.worker_pids()
    with survived(server, gateway) as readiness, load(gateway, clients=4) as result:
        until(lambda: result.count >= 2)
        readiness.broken_now()
        os.kill(old, signal.SIGSTOP)
        before = result.count
        took = until(lambda: result.count > before + 8, 120)
    result.assert_all_right()
    until(lambda: old not in server.worker_pids())
    record(
        f"worker hangs (stopped) under 4 clients, responseTimeout {RESPONSE_TIMEOUT_S} s",
        took,
        "eight further answers",
        "every answer right, no client retried; TorchServe replaced it",
        readiness.back_after_s,
    )


def test_memory_that_runs_out_in_the_worker_comes_back(server: Server, gateway: Gateway) -> None:
    """A limit on the worker's address space, as a container's, makes its allocations fail."""
    (worker,) = server.worker_pids()
    with survived(server, gateway) as readiness, load(gateway, clients=2) as few:
        until(lambda: few.count >= 2)
        readiness.broken_now()
        started, ran_out = time.monotonic(), out_of_memory(server)
        with ExitStack() as limit:
            limit.enter_context(starved(worker))
            with load(gateway, clients=24) as many:  # needs more memory than the worker ever had
                crowd(worker, gateway, 20)
                until(lambda: out_of_memory(server) > ran_out)
                time.sleep(2)
                limit.close()
                before = many.count
                until(lambda: many.count > before + 8)
                took = time.monotonic() - started
    few.assert_all_right()
    many.assert_all_right()
    record(
        "worker out of memory (address-space limit) under 26 clients, 2 s from the first batch that failed",
        took,
        "eight answers after the limit was lifted",
        "every answer right, no client retried",
        readiness.back_after_s,
    )


def out_of_memory(server: Server) -> float:
    """Batches that have run out of memory, as the metrics tell."""
    text = requests.get(f"{server.metrics}/metrics", timeout=30).text
    return sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith("whisper_oom"))


def test_scaling_up_and_down_loses_nothing(server: Server, gateway: Gateway) -> None:
    with survived(server, gateway) as readiness, load(gateway, clients=8) as result:
        until(lambda: result.count >= 4)
        readiness.broken_now()
        started = time.monotonic()
        server.scale(3)
        assert len(server.worker_pids()) == 3
        before = result.count
        until(lambda: result.count > before + 8)
        server.scale(1)
        before = result.count
        until(lambda: result.count > before + 8, 120)
        took = time.monotonic() - started
    result.assert_all_right()
    until(lambda: len(server.worker_pids()) == 1)
    record(
        "workers 1 → 3 → 1 under 8 clients",
        took,
        "all of it",
        f"{result.count} answers, every one right, no client retried",
        readiness.back_after_s,
    )
