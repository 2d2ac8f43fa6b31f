"""A PostgreSQL of the test's own, where Debian's is installed."""

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

import pytest

from tests.processes import started

PATIENCE_S = 60


def program(name: str) -> str:
    """The path of one of PostgreSQL's programs; skips the test if it is not installed."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    path = shutil.which(name) or (str(found[-1]) if found else None)
    if path is None:
        pytest.skip(f"no {name}: PostgreSQL is not installed")
    return path


@contextmanager
def running_postgres() -> Iterator[str]:
    """Its URL. It refuses to run as root, so root has it run as its own user."""
    initdb, postgres = program("initdb"), program("postgres")
    as_user = (
        ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.getuid() == 0 else []
    )
    folder = tempfile.mkdtemp(prefix="postgres-")
    try:
        if as_user:
            shutil.chown(folder, "postgres", "postgres")
        made = [*as_user, initdb, "-D", f"{folder}/data", "-U", "postgres", "--auth=trust", "--no-sync"]
        subprocess.run(made, check=True, capture_output=True, cwd="/")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        command = [*as_user, postgres, "-D", f"{folder}/data", "-p", str(port), "-k", folder]
        with started(
            [*command, "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"],
            cwd="/",
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ):
            _await(port)
            yield f"postgresql://postgres@127.0.0.1:{port}/postgres"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _await(port: int) -> None:
    import psycopg

    give_up = time.monotonic() + PATIENCE_S
    while True:
        try:
            psycopg.connect(host="127.0.0.1", port=port, user="postgres", dbname="postgres").close()
            return
        except psycopg.OperationalError:
            assert time.monotonic() < give_up, "PostgreSQL did not start"
            time.sleep(0.1)
