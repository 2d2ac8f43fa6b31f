#!/usr/bin/env python3
"""Asks for a health check again and again, as an orchestrator does, until its standard input ends.

Prints the milliseconds of every answer. A process of its own: among the threads of a load generator it would
measure how long it waits for Python's lock there.

    python benchmarks/health_probe.py http://127.0.0.1:8000/health/ready
"""

from __future__ import annotations

import http.client
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

EVERY_S = 0.05
TIMEOUT_S = 30


def ask(url: str) -> None:
    """Prints one line per answer; raises RuntimeError for one that is not 200."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=TIMEOUT_S)
    while not select.select([sys.stdin], [], [], EVERY_S)[0]:
        begun = time.perf_counter()
        connection.request("GET", parts.path)
        answer = connection.getresponse()
        answer.read()
        spent = time.perf_counter() - begun
        if answer.status != 200:
            raise RuntimeError(f"{url} answered {answer.status}")
        print(1000 * spent, flush=True)


@contextmanager
def probing(url: str) -> Iterator[list[float]]:
    """While the block runs, `url` is asked; afterwards the list holds the milliseconds."""
    found: list[float] = []
    command = [sys.executable, os.path.abspath(__file__), url]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield found
    finally:
        output, _ = process.communicate(timeout=2 * TIMEOUT_S)
    if process.returncode:
        raise RuntimeError(f"the health probe ended with status {process.returncode}")
    found += map(float, output.split())


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who started it ends it
    ask(sys.argv[1])
