"""Whatever becomes of a test, nothing that it started goes on; and a run that left something fails."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import LONGEST, SERVERS, group_of
from tests.processes import started

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]
BEGIN = """
import subprocess, sys, time
from pathlib import Path
import pytest
from tests.processes import started
SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]
ORPHAN = f"import subprocess; subprocess.Popen({SLEEP!r}, start_new_session=True)"
def note(process):
    with open("pids", "a") as file:
        print(process.pid, file=file)
"""
TESTS = """
def test_assertion():
    with started(SLEEP) as process:
        note(process)
        assert False
@pytest.mark.timeout(1)
def test_timeout():
    with started(SLEEP) as process:
        note(process)
        time.sleep(60)
def test_exit():
    with started(SLEEP) as process:
        note(process)
        raise SystemExit(3)
"""
LEAVING = """
def test_child():
    note(subprocess.Popen(SLEEP))
def test_orphan():
    subprocess.run([sys.executable, "-c", ORPHAN], check=True)
"""
STOPPED = """
def test_stopped():
    with started(SLEEP) as process:
        note(process)
        Path("begun").touch()
        time.sleep(60)
"""


def command(folder: Path, tests: str) -> list[str]:
    """pytest over these tests with this repository's conftest and no plugin but what it needs."""
    (folder / "test_it.py").write_text(BEGIN + tests)
    plugins = ["-p", "pytest_timeout", "-p", "tests.conftest", "-p", "no:cacheprovider"]
    return [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-c",
        os.devnull,
        "--rootdir",
        str(folder),
        *plugins,
        "test_it.py",
    ]


def environ() -> dict[str, str]:
    places = os.pathsep.join([str(ROOT), *(place for place in sys.path if place)])
    return {**os.environ, "PYTHONPATH": places, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}


def run(folder: Path, tests: str) -> tuple[int, str]:
    """Status and output."""
    done = subprocess.run(
        command(folder, tests), cwd=folder, env=environ(), capture_output=True, text=True, timeout=100
    )
    return done.returncode, done.stdout + done.stderr


def still_running(folder: Path) -> list[int]:
    return [pid for pid in map(int, (folder / "pids").read_text().split()) if is_running(pid)]


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_the_longest_groups_are_there_and_hold_their_tests() -> None:
    assert all((ROOT / place).exists() for place in SERVERS)
    assert all((ROOT / group).is_file() for group in LONGEST if group not in SERVERS.values())
    files = ("tests/live/faults/test_serve.py", "tests/live/faults/test_a.py", "tests/test_a.py")
    groups = [group_of(f"{file}::test_it") for file in files]
    assert groups == ["serve.sh", "servers", "tests/test_a.py"]


def test_what_a_failing_test_started_ends_with_it(tmp_path: Path) -> None:
    status, said = run(tmp_path, TESTS)
    assert status == 1 and "3 failed" in said.splitlines()[-1], said
    assert "Processes were left" not in said
    assert still_running(tmp_path) == []


def test_a_run_that_leaves_processes_fails_and_names_them(tmp_path: Path) -> None:
    status, said = run(tmp_path, LEAVING)
    assert status == 1 and "2 passed, 1 error" in said.splitlines()[-1], said
    left = re.findall(r"^(\d+): .*time.sleep\(600\)\n +started in test_it.py::(\w+)", said, re.MULTILINE)
    # pytest's summary repeats the list where CI is set
    assert sorted({test for _, test in left}) == ["test_child", "test_orphan"], said
    assert not any(is_running(int(pid)) for pid, _ in left)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_a_test_started_ends_when_the_run_is_stopped(tmp_path: Path, number: signal.Signals) -> None:
    with started(
        command(tmp_path, STOPPED), cwd=tmp_path, env=environ(), stdout=subprocess.PIPE, text=True,
        # a shell's background jobs ignore Ctrl-C, and so would what these tests start
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:  # fmt: skip
        give_up = time.monotonic() + 60
        while not (tmp_path / "begun").exists() and time.monotonic() < give_up:
            time.sleep(0.05)
        process.send_signal(number)
        said, _ = process.communicate(timeout=60)
    assert process.returncode == pytest.ExitCode.INTERRUPTED, said
    assert still_running(tmp_path) == []
