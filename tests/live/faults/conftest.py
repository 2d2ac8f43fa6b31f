"""One TorchServe and one gateway for the faults that both survive."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.live.faults import table
from tests.live.faults.stack import CLIP, DEMO, RESPONSE_TIMEOUT_S, Gateway, started_server
from tests.servers import Server


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(__file__.rpartition("/")[0]):
            item.add_marker(pytest.mark.server)
            if not (DEMO.is_file() and CLIP.is_file()):
                item.add_marker(pytest.mark.skip(reason="the demo checkpoint or its sample is not there"))


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    table.write_if_asked(passed=exitstatus == 0)


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = started_server(
        tmp_path_factory.mktemp("server"), model_config={"responseTimeout": RESPONSE_TIMEOUT_S}
    )
    yield running
    running.stop()


@pytest.fixture(scope="package")
def gateway(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with running_gateway(server, tmp_path_factory.mktemp("gateway")) as running:
        yield running


@contextmanager
def running_gateway(server: Server, folder: Path) -> Iterator[Gateway]:
    """A gateway that is ready; it ends in order and leaves no file."""
    running = Gateway(folder, [server])
    try:
        running.wait_ready()
        yield running
    finally:
        assert running.stop() == 0
        assert list(running.temp_dir.iterdir()) == [], "the gateway left files behind"
