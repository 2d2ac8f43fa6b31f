"""Workers that die, hang, run out of memory or come and go: no client notices more than a delay."""

from __future__ import annotations

import os
import resource
import signal
import time
from collections.abc import Callable

from tests.faults.stack import Gateway, load, record
from tests.servers import Server


def until(is_so: Callable[[], bool], timeout_s: float = 60) -> float:
    """Seconds until it is so."""
    started = time.monotonic()
    while not is_so():
        assert time.monotonic() - started < timeout_s
        time.sleep(0.05)
    return time.monotonic() - started


def test_a_killed_worker_costs_no_request(server: Server, gateway: Gateway) -> None:
    with load(gateway, clients=8) as result:
        until(lambda: result.count >= 4)
        (old,) = server.worker_pids()
        os.kill(old, signal.SIGKILL)
        before = result.count
        took = until(lambda: result.count > before + 8)
        assert server.worker_pids() != [old]
    result.assert_all_right()
    record(
        "worker `kill -9` under 8 clients",
        took,
        "8 further answers; no request failed, none retried by its client",
    )


def test_a_hanging_worker_is_replaced(server: Server, gateway: Gateway) -> None:
    """Stopped, a worker takes a batch and never answers: TorchServe replaces it after responseTimeout."""
    (old,) = server.worker_pids()
    with load(gateway, clients=4) as result:
        until(lambda: result.count >= 2)
        os.kill(old, signal.SIGSTOP)
        before = result.count
        took = until(lambda: result.count > before + 8, 120)
    result.assert_all_right()
    until(lambda: old not in server.worker_pids())
    record("worker hangs (stopped), responseTimeout 8 s", took, "8 further answers; no request failed")


def test_memory_that_runs_out_in_the_worker_comes_back(server: Server, gateway: Gateway) -> None:
    """A limit on the worker's address space, as a container's, makes its allocations fail."""
    (worker,) = server.worker_pids()
    unlimited = resource.prlimit(worker, resource.RLIMIT_AS)
    with load(gateway, clients=4) as result:
        until(lambda: result.count >= 2)
        used = _address_space(worker)
        resource.prlimit(worker, resource.RLIMIT_AS, (used + 1_000_000, unlimited[1]))
        time.sleep(2)
        if worker in server.worker_pids():
            resource.prlimit(worker, resource.RLIMIT_AS, unlimited)
        before = result.count
        took = until(lambda: result.count > before + 8, 120)
    result.assert_all_right()
    record("worker out of memory for 2 s (RLIMIT_AS)", took, "8 further answers; no request failed")


def _address_space(pid: int) -> int:
    """Bytes of virtual memory a process has."""
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[0]) * resource.getpagesize()


def test_scaling_up_and_down_loses_nothing(server: Server, gateway: Gateway) -> None:
    started = time.monotonic()
    with load(gateway, clients=8) as result:
        until(lambda: result.count >= 4)
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
        f"{result.count} requests, none failed, none retried by its client",
    )
