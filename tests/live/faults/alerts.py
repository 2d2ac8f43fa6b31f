"""A Prometheus of a test's own over the real processes, and what it says of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.dashboard import Prometheus
from tests.live import prometheus as debian
from tests.live.faults.stack import Gateway, until
from tests.servers import Server

SHOWN_WITHIN_S = 120


@contextmanager
def watched(folder: Path, server: Server, gateway: Gateway) -> Iterator[Prometheus]:
    """A Prometheus that has scraped both at least once."""
    targets = {
        "torchserve": [server.metrics.removeprefix("http://")],
        "gateway": [gateway.url.removeprefix("http://")],
    }
    with debian.running(folder, targets, alert_at_once=True) as prometheus:
        until(lambda: value(prometheus, "sum(up)") == 2, SHOWN_WITHIN_S)
        yield prometheus


def value(prometheus: Prometheus, expression: str) -> float:
    """Of the first series now, 0 where there is none."""
    found = prometheus.now(expression)
    return found[0].value if found else 0.0


def fires(prometheus: Prometheus, alert: str) -> bool:
    return bool(prometheus.now(f'ALERTS{{alertname="{alert}", alertstate="firing"}}'))


def assert_fires(prometheus: Prometheus, alert: str) -> None:
    until(lambda: fires(prometheus, alert), SHOWN_WITHIN_S)


@contextmanager
def in_background(act: Callable[[], object], threads: int = 1) -> Iterator[None]:
    """Does it again and again on threads while the block runs."""
    over = threading.Event()

    def go() -> None:
        while not over.is_set():
            act()

    running = [threading.Thread(target=go) for _ in range(threads)]
    for thread in running:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in running:
            thread.join(150)
