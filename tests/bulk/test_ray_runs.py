"""`python -m bulk` on a real Ray cluster of this machine: what a kill loses, doubles and repeats.

Minutes and a gigabyte, so these tests run only where they are asked for:

    pip install -r requirements-bulk.txt
    WHISPER_TEST_RAY=1 python -m pytest tests/bulk/test_ray_runs.py
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.processes import started

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(500),
    pytest.mark.skipif(
        "WHISPER_TEST_RAY" not in os.environ or importlib.util.find_spec("ray") is None,
        reason="Ray takes minutes: install requirements-bulk.txt and set WHISPER_TEST_RAY=1",
    ),
]
ROOT = Path(__file__).resolve().parents[2]
FILES, ACTORS, IN_FLIGHT, BLOCK = 60, 2, 4, 4
KILLED_WITH = ACTORS * IN_FLIGHT  # files that may be heard again after a kill


class Run:
    """Files, a stand-in's log, and the command that transcribes them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.out, self.log = folder / "in", folder / "out", folder / "log"
        self.folder.mkdir()
        self.log.touch()
        for number in range(FILES):
            (self.folder / f"{number:02}.wav").write_bytes(b"sound")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])

    @contextmanager
    def server(self, delay_s: float) -> Iterator[subprocess.Popen[Any]]:
        program = [sys.executable, str(ROOT / "tests" / "bulk" / "standin.py")]
        with started([*program, str(self.port), str(delay_s), str(self.log)]) as process:
            until(self.is_up, 20)
            yield process

    def is_up(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def command(self, *more: str, module: str = "bulk") -> list[str]:
        sizes = ("--actors", str(ACTORS), "--in-flight", str(IN_FLIGHT), "--block", str(BLOCK))
        url = f"http://127.0.0.1:{self.port}/v1"
        fixed = (str(self.folder), "--to", str(self.out), "--url", url, *sizes)
        return [sys.executable, "-m", module, *fixed, *more]

    def call(self, *more: str, module: str = "bulk") -> int:
        env = os.environ | {"PYTHONPATH": str(ROOT / "clients")}  # for an actor's class that a test defines
        return subprocess.run(self.command(*more, module=module), cwd=ROOT, env=env, timeout=400).returncode

    def marks(self, letter: str) -> list[str]:
        return [line[2:] for line in self.log.read_text().splitlines() if line[0] == letter]

    def rows(self) -> list[dict[str, Any]]:
        from pyarrow import parquet

        return [
            row
            for file in sorted(self.out.glob("rows/*.parquet"))
            for row in parquet.read_table(file).to_pylist()
        ]

    def check(self, repeated: int, errors: int = 0) -> None:
        rows = self.rows()
        assert [row["path"] for row in rows] == [str(each) for each in sorted(self.folder.iterdir())], "lost"
        assert len({row["id"] for row in rows}) == len(rows), "doubled"
        assert sum(row["error_code"] is not None for row in rows) == errors
        assert all(row["text"] == f"text of {row['id']}" for row in rows if not row["error_code"])
        heard = Counter(self.marks("S"))
        again = sum(heard.values()) - len(heard)
        print(f"lost 0, doubled 0, heard again {again} of {len(heard)}")
        assert again <= repeated
        summary = json.loads((self.out / "summary.json").read_text())
        assert summary["lines"] == summary["good"] + sum(summary["errors"].values()) == len(rows)


@pytest.fixture
def bulk_run(tmp_path: Path) -> Run:
    return Run(tmp_path)


def until(is_so: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


def heard_until(bulk_run: Run, files: int, driver: subprocess.Popen[Any]) -> None:
    """Waits until `files` files have an answer; the driver must still work then."""
    until(lambda: driver.poll() is not None or len(set(bulk_run.marks("D"))) >= files, 120)
    assert driver.poll() is None, "the driver has ended"


def actor_pids(parent: int) -> Sequence[int]:
    found = psutil.Process(parent).children(recursive=True)
    return [each.pid for each in found if each.is_running() and "GatewayRows" in " ".join(each.cmdline())]


def test_a_driver_killed_at_three_instants(bulk_run: Run) -> None:
    with bulk_run.server(0.3):
        for done in (3, 20, 40):
            with started(bulk_run.command(), cwd=ROOT) as driver:
                heard_until(bulk_run, done, driver)
                family = psutil.Process(driver.pid).children(recursive=True)
                driver.send_signal(signal.SIGKILL)
            psutil.wait_procs(family, timeout=60)
        assert bulk_run.call() == 0
    bulk_run.check(repeated=3 * KILLED_WITH)


def test_a_killed_actor(bulk_run: Run) -> None:
    with bulk_run.server(0.3), started(bulk_run.command(), cwd=ROOT) as driver:
        heard_until(bulk_run, 10, driver)
        pids = actor_pids(driver.pid)
        assert pids
        os.kill(pids[0], signal.SIGKILL)
        assert driver.wait(300) == 0
    bulk_run.check(repeated=IN_FLIGHT)


def test_a_gateway_that_is_gone_for_a_minute(bulk_run: Run) -> None:
    with bulk_run.server(0.3) as server, started(bulk_run.command(), cwd=ROOT) as driver:
        heard_until(bulk_run, 10, driver)
        server.kill()
        server.wait()
        time.sleep(60)
        with bulk_run.server(0.3):
            assert driver.wait(300) == 0
    bulk_run.check(repeated=KILLED_WITH)


def test_poison_is_an_error_row_and_a_retry_asks_again(bulk_run: Run) -> None:
    (bulk_run.folder / "07.wav").write_bytes(b"poison")
    with bulk_run.server(0.02):
        assert bulk_run.call() == 1
        bulk_run.check(repeated=0, errors=1)
        (bulk_run.folder / "07.wav").write_bytes(b"mended")
        assert bulk_run.call("--retry-errors") == 0
    bulk_run.check(repeated=1)


def test_a_file_that_kills_its_actors_costs_only_itself(bulk_run: Run) -> None:
    (bulk_run.folder / "deadly.wav").write_bytes(b"sound")
    assert bulk_run.call(module="tests.bulk.deadly_run") == 1
    rows = bulk_run.rows()
    assert len(rows) == FILES + 1
    assert [(Path(row["path"]).name, row["error_code"]) for row in rows if row["error_code"]] == [
        ("deadly.wav", "worker_died")
    ]
