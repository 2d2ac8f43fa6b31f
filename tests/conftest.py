"""For all tests: the workers' environment before torch reads it, no chance, and no process left behind."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator
from typing import Any

import pytest
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling

from tests.processes import ended_leftovers, mark_session

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # see scripts/serve/torchserve.py

# The same examples in every run: what passed passes again. HYPOTHESIS_PROFILE=random looks for new ones.
settings.register_profile("ci", derandomize=True, deadline=None, database=None, print_blob=True)
settings.register_profile("random", deadline=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


# Two processes have the tests of real servers, which mostly wait. All that runs serve.sh is in one of them:
# no two of its starts have to share the cores.
SERVERS = {
    "tests/live/faults/test_serve.py": "serve.sh",
    "tests/live/serve/": "serve.sh",
    "tests/live/gateway/": "serve.sh",
    "tests/live/": "servers",
}
# Groups of tests that take minutes begin first: whatever begins last keeps a run waiting.
LONGEST = (
    "serve.sh",
    "servers",
    "tests/asr/sessions/test_real_parity.py",
    "tests/asr/sessions/test_real_cases.py",
    "tests/asr/sessions/test_session_parity.py",
    "tests/tune/test_runner.py",
)


def pytest_configure(config: pytest.Config) -> None:
    if not in_part(config):
        mark_session()
    for number in (
        signal.SIGTERM,
        signal.SIGINT,
    ):  # fixtures end what they started; a shell may ignore Ctrl-C
        signal.signal(number, signal.default_int_handler)


def in_part(config: pytest.Config) -> bool:
    """Whether this is one of pytest-xdist's processes; the one that started them looks for what was left."""
    return hasattr(config, "workerinput")


class Groups(LoadScopeScheduling):
    """Which tests follow each other in one process: those of a group."""

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid)


def group_of(nodeid: str) -> str:
    """A test's file, or one of `SERVERS`."""
    file = nodeid.partition("::")[0]
    return next((group for place, group in SERVERS.items() if file.startswith(place)), file)


@pytest.hookimpl(optionalhook=True)  # pytest-xdist's
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Groups:
    config.option.loadscopereorder = False  # it would begin with the groups of the most tests
    return Groups(config, log)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if in_part(config):
        items.sort(key=lambda item: rank(group_of(item.nodeid)))


def rank(group: str) -> int:
    return LONGEST.index(group) if group in LONGEST else len(LONGEST)


@pytest.hookimpl(wrapper=True, trylast=True)  # after the last fixture's end, before the summary
def pytest_sessionfinish(session: pytest.Session) -> Generator[None]:
    yield
    if in_part(session.config):
        return
    left = ended_leftovers()
    if left:
        said = "\n".join(["Processes were left, and are killed now:", *map(str, left)])
        report = pytest.TestReport(
            "processes", ("tests/conftest.py", None, "processes"), {}, "failed", said, "teardown"
        )
        session.config.hook.pytest_runtest_logreport(report=report)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
