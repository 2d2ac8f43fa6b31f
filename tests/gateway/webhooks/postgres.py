"""A PostgreSQL server for tests, where its programs are installed."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from tests.processes import started

DEBIAN = Path("/usr/lib/postgresql")
NOBODY = 65_534  # PostgreSQL does not run as root


def program(name: str) -> str | None:
    found = shutil.which(name) or next((str(path) for path in DEBIAN.glob(f"*/bin/{name}")), None)
    return found


@contextmanager
def running() -> Iterator[str]:
    """The URL of a server, which is gone at the end with its data."""
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    as_user = {"user": NOBODY} if os.geteuid() == 0 else {}
    if as_user:
        os.chown(folder, NOBODY, NOBODY)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    data = str(folder / "data")
    try:
        initdb = [program("initdb"), "-D", data, "-A", "trust", "-U", "postgres", "--no-sync"]
        subprocess.run(initdb, check=True, capture_output=True, timeout=120, cwd="/", **as_user)  # type: ignore[call-overload]
        command = [program("postgres"), "-D", data, "-p", str(port), "-k", str(folder), "-c", "fsync=off"]
        with started(
            command,  # type: ignore[arg-type]
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/", **as_user,
        ):  # fmt: skip
            address = f"postgres@127.0.0.1:{port}/postgres"
            _wait_for(f"postgresql://{address}")
            yield f"postgresql+psycopg://{address}"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _wait_for(url: str) -> None:
    """Its port is open before it takes connections."""
    give_up = time.monotonic() + 60
    while True:
        try:
            return psycopg.connect(url).close()
        except psycopg.OperationalError:
            assert time.monotonic() < give_up, "PostgreSQL did not start"
            time.sleep(0.05)
