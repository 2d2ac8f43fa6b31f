"""What becomes of the lines, written down: many in one transaction, since each waits for the disk.

An update counts only while the line is in the state, and at the attempt, that the writer believes. So the
answer of a line is written once, even if a gateway that passed for dead comes back with a second one.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from typing import Any, Literal

import sqlalchemy as sa
from prometheus_client import Counter

from gateway.jobs.database import writing
from gateway.jobs.tables import BATCHES, LINES

log = logging.getLogger(__name__)

FIRST_PAUSE_S, LAST_PAUSE_S = 0.2, 10.0  # between two tries while the database takes nothing
NOT_NOW = (sa.exc.DBAPIError, sa.exc.TimeoutError)  # a full disk, a lock, no free connection


@dataclass(frozen=True, slots=True)
class LineAnswer:
    """The end of a line."""

    status: Literal["done", "failed"]
    text: str  # its line in the output or error file
    audio_s: float = 0.0


@dataclass(slots=True, eq=False)
class _Entry:
    batch_id: str
    number: int
    attempt: int
    before: str  # the status that the line has
    values: dict[str, Any]
    answer: LineAnswer | None = None
    owner: str | None = None  # that the batch must have
    counted: asyncio.Future[bool] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Ledger:
    """Writes entries in the order in which they come."""

    def __init__(self, engine: sa.Engine, failed_writes: Counter) -> None:
        self._engine = engine
        self._failed_writes = failed_writes
        self._entries: list[_Entry] = []
        self._writer: asyncio.Task[None] | None = None

    async def begin(self, batch_id: str, number: int, attempt: int, owner: str) -> bool:
        """Whether the line was waiting and the batch is the owner's; it is at work from now on.

        attempt: from 1.
        """
        values = {"status": "running", "attempts": attempt}
        return await self._write(_Entry(batch_id, number, attempt - 1, "waiting", values, owner=owner))

    async def end(self, batch_id: str, number: int, attempt: int, answer: LineAnswer) -> bool:
        """Whether the answer counts."""
        values = {"status": answer.status, "answer": answer.text}
        return await self._write(_Entry(batch_id, number, attempt, "running", values, answer))

    async def give_back(self, batch_id: str, number: int, attempt: int) -> bool:
        """Has the line wait again as if it had not begun."""
        values = {"status": "waiting", "attempts": attempt - 1}
        return await self._write(_Entry(batch_id, number, attempt, "running", values))

    async def close(self) -> None:
        """Returns when everything is written."""
        while self._writer is not None:
            await asyncio.wait([self._writer])

    async def _write(self, entry: _Entry) -> bool:
        self._entries.append(entry)
        if self._writer is None:
            self._writer = asyncio.create_task(self._write_all())
        return await asyncio.shield(entry.counted)

    async def _write_all(self) -> None:
        pause_s, together = FIRST_PAUSE_S, True
        while self._entries:
            most = len(self._entries) if together else 1
            entries, self._entries = self._entries[:most], self._entries[most:]
            try:
                counted = await asyncio.to_thread(self._commit, entries)
            except NOT_NOW as error:
                why = getattr(error, "orig", error)  # the error itself has the answers' texts
                log.error("the jobs' database takes nothing, next try in %g s: %s", pause_s, why)
                self._failed_writes.inc()
                self._entries = entries + self._entries
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, LAST_PAUSE_S)
                continue
            except Exception as error:
                if together:  # one of them; alone it does not stand in the way of the others
                    together, self._entries = False, entries + self._entries
                elif not entries[0].counted.done():
                    entries[0].counted.set_exception(error)
                continue
            pause_s = FIRST_PAUSE_S
            for entry, counts in zip(entries, counted, strict=True):
                if not entry.counted.done():
                    entry.counted.set_result(counts)
        self._writer = None

    def _commit(self, entries: list[_Entry]) -> list[bool]:
        in_order = sorted(entries, key=lambda entry: entry.batch_id)  # as every gateway takes its locks
        with writing(self._engine) as connection:
            counted = {entry: _apply(connection, entry) for entry in in_order}
        return [counted[entry] for entry in entries]


def _apply(connection: sa.Connection, entry: _Entry) -> bool:
    """Whether the entry counts."""
    line = sa.update(LINES).where(
        LINES.c.batch_id == entry.batch_id,
        LINES.c.number == entry.number,
        LINES.c.status == entry.before,
        LINES.c.attempts == entry.attempt,
    )
    if entry.owner is not None:
        owned = (BATCHES.c.id == entry.batch_id) & (BATCHES.c.owner == entry.owner)
        line = line.where(sa.exists().where(owned))
    if connection.execute(line.values(**entry.values)).rowcount != 1:
        return False
    if (answer := entry.answer) is not None:
        column = BATCHES.c.completed if answer.status == "done" else BATCHES.c.failed
        connection.execute(
            sa.update(BATCHES)
            .where(BATCHES.c.id == entry.batch_id)
            .values({column: column + 1, BATCHES.c.audio_s: BATCHES.c.audio_s + answer.audio_s})
        )
    return True
