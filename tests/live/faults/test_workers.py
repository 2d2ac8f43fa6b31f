"""Workers that die, hang or come and go: no client notices more than a delay."""

from __future__ import annotations

import os
import signal
import time

from tests.live.faults.stack import RESPONSE_TIMEOUT_S, Gateway, load, until
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
