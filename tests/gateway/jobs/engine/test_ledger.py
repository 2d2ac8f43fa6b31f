"""What the ledger counts, and what it does not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from prometheus_client import Counter

from gateway.jobs import tables
from gateway.jobs.database import create_tables, open_engine, writing
from gateway.jobs.engine import ledger as ledger_module
from gateway.jobs.engine.ledger import Ledger, LineAnswer

DONE = LineAnswer("done", '{"custom_id": "1"}', 2.5)


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[Ledger]:
    """Over a batch `b` of nine lines that wait."""
    engine = open_engine(f"sqlite:///{tmp_path}/jobs.sqlite")
    create_tables(engine)
    batch = {
        "id": "b",
        "owner": "me",
        "key": "a",
        "serial": 1,
        "status": "in_progress",
        "endpoint": "e",
        "input_file_id": "f",
    }
    batch |= {"completion_window": "24h", "priority": 5, "digest": "", "created_at": 1, "expires_at": 2}
    lines = [
        {"batch_id": "b", "number": n, "custom_id": str(n), "position": 0, "bytes": 1} for n in range(1, 10)
    ]
    with writing(engine) as connection:
        connection.execute(sa.insert(tables.BATCHES).values(**batch))
        connection.execute(sa.insert(tables.LINES), lines)
    ledger = Ledger(engine, Counter("failed_writes", "of this test", registry=None))
    yield ledger
    await ledger.close()
    engine.dispose()


def batch(ledger: Ledger) -> Any:
    with ledger._engine.connect() as connection:
        return connection.execute(sa.select(tables.BATCHES)).one()


async def test_a_line_is_begun_and_ended_once(ledger: Ledger) -> None:
    assert await ledger.begin("b", 1, 1, "me")
    assert not await ledger.begin("b", 1, 1, "me"), "another gateway has it"
    assert await ledger.end("b", 1, 1, DONE)
    assert not await ledger.end("b", 1, 1, DONE)
    row = batch(ledger)
    assert (row.completed, row.failed, row.audio_s) == (1, 0, 2.5)


async def test_an_answer_of_an_earlier_attempt_does_not_count(ledger: Ledger) -> None:
    """A gateway passed for dead, its line was taken over, and then it came back with its answer."""
    assert await ledger.begin("b", 1, 1, "me")
    assert await ledger.give_back("b", 1, 1)
    with writing(ledger._engine) as connection:
        connection.execute(sa.update(tables.LINES).values(status="waiting", attempts=1))
    assert await ledger.begin("b", 1, 2, "me")
    assert not await ledger.end("b", 1, 1, DONE)
    assert await ledger.end("b", 1, 2, DONE)
    assert batch(ledger).completed == 1


async def test_a_run_that_lost_the_batch_begins_no_line(ledger: Ledger) -> None:
    with writing(ledger._engine) as connection:
        connection.execute(sa.update(tables.BATCHES).values(owner="another"))
    assert not await ledger.begin("b", 1, 1, "me")
    assert await ledger.begin("b", 1, 1, "another")


async def test_what_is_given_back_waits_as_if_it_had_not_begun(ledger: Ledger) -> None:
    await ledger.begin("b", 1, 1, "me")
    await ledger.give_back("b", 1, 1)
    assert await ledger.begin("b", 1, 1, "me")


async def test_lines_that_end_together_share_a_transaction(ledger: Ledger) -> None:
    commits: list[int] = []
    commit = ledger._commit
    ledger._commit = lambda entries: (commits.append(len(entries)), commit(entries))[1]  # type: ignore[method-assign]
    assert all(await asyncio.gather(*(ledger.begin("b", n, 1, "me") for n in range(1, 10))))
    assert all(await asyncio.gather(*(ledger.end("b", n, 1, DONE) for n in range(1, 10))))
    assert sum(commits) == 18 and len(commits) <= 4
    assert batch(ledger).completed == 9


@pytest.mark.parametrize(
    "error",
    [
        sa.exc.OperationalError("COMMIT", {}, Exception("database or disk is full")),
        sa.exc.TimeoutError("QueuePool limit of size 20 overflow 10 reached"),
    ],
)
async def test_while_the_database_takes_nothing_the_lines_wait(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(ledger_module, "FIRST_PAUSE_S", 0.01)
    tries = 0
    commit = ledger._commit

    def full(entries: Any) -> Any:
        nonlocal tries
        tries += 1
        if tries < 4:
            raise error
        return commit(entries)

    ledger._commit = full  # type: ignore[method-assign]
    assert await ledger.begin("b", 1, 1, "me")
    assert await ledger.end("b", 1, 1, DONE)
    assert tries == 5 and batch(ledger).completed == 1


async def test_an_answer_that_no_database_takes_fails_alone(ledger: Ledger) -> None:
    """The ledger goes on, and ends."""
    assert all(await asyncio.gather(*(ledger.begin("b", n, 1, "me") for n in range(1, 10))))
    broken = LineAnswer("done", "\ud800")  # no UTF-8
    answers = [broken if n == 4 else DONE for n in range(1, 10)]
    async with asyncio.timeout(30):
        outcomes = await asyncio.gather(
            *(ledger.end("b", n, 1, answer) for n, answer in enumerate(answers, 1)), return_exceptions=True
        )
        assert isinstance(outcomes[3], UnicodeEncodeError)
        assert outcomes[:3] + outcomes[4:] == [True] * 8 and batch(ledger).completed == 8
        assert await ledger.end("b", 4, 1, DONE)
        await ledger.close()
