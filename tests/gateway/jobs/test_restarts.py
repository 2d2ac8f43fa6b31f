"""A gateway that ends in order, or ended at a bad moment, and the next one on the same directory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from gateway.app import create_app
from gateway.jobs.database import create_tables, open_engine
from gateway.jobs.tables import BATCHES, LINES
from gateway.service import Service
from gateway.settings import SettingsError
from tests.gateway.fake_torchserve import FakeTorchServe
from tests.gateway.jobs.conftest import (
    ALICE,
    WHOLE,
    House,
    client_of,
    held_back,
    line,
    rows,
    stuck,
    submit,
    until,
    upload,
    wait,
)
from tests.gateway.served import Gateway, settings_for

pytestmark = pytest.mark.slow

NUM_LINES = 20
ALL = {str(n) for n in range(NUM_LINES)}


@pytest.fixture(autouse=True, scope="module")
def quick(house: House) -> Iterator[None]:
    """No other gateway in this process, and no patience with suspects."""
    house.close()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gateway.jobs.engine.batch_driver.SUSPECT_S", 0.05)
        yield


def started(upstream: FakeTorchServe, folder: Path) -> Gateway:
    spool = folder / "spool"
    spool.mkdir(exist_ok=True)
    jobs = {"directory": folder / "jobs", "lines": 4}
    return Gateway(settings_for(upstream, spool, jobs=jobs, access={"keys": [ALICE]}))


def run_lines(gateway: Gateway, tone_wav: bytes) -> str:
    """The id of a batch that has just been made."""
    with client_of(gateway, ALICE) as client:
        audio = upload(client, tone_wav)
        return submit(client, [line(str(n), file_id=audio, **WHOLE) for n in range(NUM_LINES)]).id


def table(gateway: Gateway, query: Any) -> Any:
    with gateway.app.state.jobs.engine.begin() as connection:
        return connection.execute(query)


def test_tables_of_an_older_release_get_the_new_columns(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path}/jobs.sqlite")
    create_tables(engine)
    with engine.begin() as connection:
        connection.execute(sa.text("ALTER TABLE job_batches DROP COLUMN delete_after_use"))
    for _ in range(2):
        create_tables(engine)
    with engine.connect() as connection:
        assert connection.execute(sa.select(BATCHES)).all() == []
    engine.dispose()


def test_what_a_drain_interrupts_goes_on_after_the_restart(
    upstream: FakeTorchServe, tone_wav: bytes, tmp_path: Path
) -> None:
    with (
        started(upstream, tmp_path) as gateway,
        client_of(gateway, ALICE) as client,
        stuck(upstream),
    ):
        batch_id = run_lines(gateway, tone_wav)
        until(lambda: client.batches.retrieve(batch_id), lambda one: one.request_counts.completed)
        with pytest.raises(SettingsError, match="which another gateway uses"):
            create_app(Service(gateway.settings))
        gateway.service.drain.begin(5)
        until(lambda: gateway.app.state.jobs.driver.places.num_at_work, lambda count: not count)
        states = table(gateway, sa.select(LINES.c.status, LINES.c.attempts)).all()
        assert {(status, attempts) for status, attempts in states} == {("waiting", 0), ("done", 1)}
    with started(upstream, tmp_path) as gateway, client_of(gateway, ALICE) as client:
        done = wait(client, batch_id)
        assert done.status == "completed" and rows(client, done.output_file_id).keys() == ALL


def test_an_end_that_was_interrupted_is_made_once(
    upstream: FakeTorchServe, tone_wav: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The files are written, and the process ends before the transaction that ends the batch."""
    ended: list[Any] = []

    def record_end(outbox: Any, connection: sa.Connection, batch: Any) -> None:
        ended.append(batch.id)
        if len(ended) < 3:
            raise OSError("the disk is full")

    monkeypatch.setattr("gateway.jobs.engine.finishing.record_end", record_end)
    with started(upstream, tmp_path) as gateway, client_of(gateway, ALICE) as client:
        batch_id = run_lines(gateway, tone_wav)
        done = wait(client, batch_id)
        assert ended == [batch_id] * 3, "what fails is tried again"
        assert rows(client, done.output_file_id).keys() == ALL
        assert len([file for file in client.files.list() if file.purpose == "batch_output"]) == 1


@pytest.fixture(scope="module")
def left(
    upstream: FakeTorchServe, tone_wav: bytes, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Gateway, dict[str, str]]]:
    """A gateway on what a killed one left, and the ids of its batches."""
    folder = tmp_path_factory.mktemp("left")
    with started(upstream, folder) as gateway, client_of(gateway, ALICE) as client, held_back(gateway):
        ids = {"suspects": run_lines(gateway, tone_wav)}
        wait(client, ids["suspects"], ["in_progress"])
        gateway.app.state.jobs.stops.begin_drain()
        until(lambda: gateway.app.state.jobs.stops.batch_ids, lambda ids: not ids)
        for number, attempts in ((3, 3), (5, 2), (7, 1)):
            values = {"status": "running", "attempts": attempts}
            table(gateway, sa.update(LINES).where(LINES.c.number == number).values(**values))
        ids["deadly"] = submit(client, [line("0", url="data:,")]).id
        table(gateway, sa.update(BATCHES).where(BATCHES.c.id == ids["deadly"]).values(attempts=3))
        for name, change in (
            ("unknown", "DELETE FROM workflow_status"),
            ("foreign", "UPDATE workflow_status SET executor_id = 'gateway-9'"),
        ):
            ids[name] = run_lines(gateway, tone_wav)
            where = f"workflow_uuid = '{ids[name]}' AND status = 'PENDING'"
            query = sa.text(f"SELECT count(*) FROM workflow_status WHERE {where}")
            until(lambda query=query: table(gateway, query).scalar(), lambda count: count == 1)
            table(gateway, sa.text(f"{change} WHERE {where}"))
    with started(upstream, folder) as gateway:
        yield gateway, ids


def test_a_line_at_which_the_process_ended_three_times_fails_alone(
    left: tuple[Gateway, dict[str, str]],
) -> None:
    gateway, ids = left
    with client_of(gateway, ALICE) as client:
        done = wait(client, ids["suspects"])
        errors = rows(client, done.error_file_id)
        assert {name: one["error"]["code"] for name, one in errors.items()} == {"2": "worker_crashed"}
        assert rows(client, done.output_file_id).keys() == ALL - {"2"}
        assert (done.request_counts.completed, done.request_counts.failed) == (NUM_LINES - 1, 1)


def test_a_file_at_whose_reading_the_process_ended_three_times_fails(
    left: tuple[Gateway, dict[str, str]],
) -> None:
    gateway, ids = left
    with client_of(gateway, ALICE) as client:
        done = wait(client, ids["deadly"])
        assert [error.code for error in done.errors.data] == ["worker_crashed"]


def test_batches_that_dbos_knows_no_more_are_found(left: tuple[Gateway, dict[str, str]]) -> None:
    gateway, ids = left
    with client_of(gateway, ALICE) as client:
        assert wait(client, ids["unknown"]).status == "completed"


def test_the_batches_of_a_dead_gateway_go_on_in_another(left: tuple[Gateway, dict[str, str]]) -> None:
    """The contract of dbos's private function."""
    gateway, ids = left
    durable = gateway.app.state.jobs._durable
    with client_of(gateway, ALICE) as client:
        assert client.batches.retrieve(ids["foreign"]).status == "validating", "it belongs to another"
        for _ in range(2):
            durable.recover(["gateway-9"])
            assert wait(client, ids["foreign"]).status == "completed"
    durable.forget_ended()
