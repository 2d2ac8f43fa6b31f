"""A batch from its first state to its last; it may begin at any of them, for all that is done is in rows."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from asr.errors import Overloaded
from gateway.api_errors import ModelNotFound, NotReady
from gateway.caller import Caller
from gateway.job_rows import now
from gateway.jobs.database import writing
from gateway.jobs.engine.finishing import Finishing
from gateway.jobs.engine.ledger import Ledger
from gateway.jobs.engine.line import LineRunner
from gateway.jobs.engine.line_answers import failed
from gateway.jobs.engine.places import Place, Places, Rank
from gateway.jobs.engine.stops import Stop, Stops
from gateway.jobs.engine.validation import MAX_ATTEMPTS, NoLongerValidating, Validation
from gateway.jobs.files.contents import Contents
from gateway.jobs.tables import BATCHES, LINES
from gateway.observe.logs import log_event
from gateway.service import Service

log = logging.getLogger(__name__)

FIRST_PAUSE_S, LAST_PAUSE_S = 0.5, 30.0  # between two tries while the disk or the database takes nothing
CHUNK_LINES = 64
SUSPECT_S = 2.0  # after a start, for each time that a process ended at the line: the others go first


@dataclass(frozen=True, slots=True)
class _Run:
    """What the lines of one run of a batch share, and the call by which one says that it has its place."""

    batch: sa.Row[Any]
    owner: str
    caller: Caller
    has_place: Callable[[None], None]


class Driver:
    """Drives batches, each in a task of its own on one event loop."""

    def __init__(
        self,
        service: Service,
        engine: sa.Engine,
        contents: Contents,
        runner: LineRunner,
        steps: tuple[Validation, Finishing],
        stops: Stops,
    ) -> None:
        settings = service.settings.jobs
        self._service = service
        self._engine = engine
        self._contents = contents
        self._runner = runner
        self._validation, self._finishing = steps
        self._stops = stops
        self._metrics = service.metrics.jobs
        self._one_validates = asyncio.Lock()
        self._started_at = time.monotonic()
        processes = service.settings.media.processes
        self.places = Places(settings.lines, settings.max_running_audio_s, processes)
        self.ledger = Ledger(engine, self._metrics.failed_writes)

    async def run(self, batch_id: str) -> None:
        """Returns when the batch has ended; raises CancelledError when the server goes down before."""
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                with self._stops.of(batch_id) as stop:
                    await self._run(batch_id, stop)
                await self._log_end(batch_id)
                return
            except NotReady as error:
                log.info("%s waits %g s: %s", batch_id, pause_s, error)
            except (sa.exc.DBAPIError, OSError, Overloaded) as error:
                log.error("%s waits %g s: %s", batch_id, pause_s, error)
                self._metrics.failed_writes.inc()
            except Exception:
                log.exception("%s broke and is tried again in %g s", batch_id, pause_s)
            await self._stops.sleep(pause_s)
            pause_s = min(2 * pause_s, LAST_PAUSE_S)

    async def _run(self, batch_id: str, stop: Stop) -> None:
        batch = await asyncio.to_thread(self._row, batch_id)
        if batch is None:
            return
        if batch.status == "validating" and now() < batch.expires_at:
            await self._validate(batch)
            batch = await asyncio.to_thread(self._row, batch_id)
            assert batch is not None
        if batch.status == "in_progress":
            owner = uuid.uuid4().hex
            await self._run_lines(batch, owner, stop)
            batch = await asyncio.to_thread(self._row, batch_id)
            if batch is None or batch.owner != owner:
                return  # this gateway passed for dead, and another one has the batch
        if batch.status != "failed":
            await asyncio.to_thread(self._finishing.run, batch_id)

    async def _log_end(self, batch_id: str) -> None:
        if (row := await asyncio.to_thread(self._row, batch_id)) is not None:
            counts = {"total": row.total, "completed": row.completed, "failed": row.failed}
            log_event(log, "batch", caller=row.key, batch=row.id, status=row.status, **counts)

    async def _validate(self, batch: sa.Row[Any]) -> None:
        caller = self._service.keys.caller_named(batch.key)
        _ = self._service.fleet.default  # raises NotReady: without the model nobody knows its name

        def knows_model(name: str | None) -> bool:
            try:
                self._service.named(name or None, caller)
            except ModelNotFound:
                return False
            return True

        async with self._one_validates:
            self._stops.check()
            try:
                await asyncio.to_thread(self._validation.run, batch, knows_model)
            except NoLongerValidating:
                return

    async def _run_lines(self, batch: sa.Row[Any], owner: str, stop: Stop) -> None:
        """Returns when all lines are done, or the batch is to end; raises CancelledError when the server goes
        down."""
        await asyncio.to_thread(self._take_over, batch.id, owner)
        feeding = asyncio.create_task(self._feed(batch, owner))
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait([feeding, stopping], return_when=asyncio.FIRST_COMPLETED)
            if feeding.done():
                feeding.result()
        finally:
            for task in (feeding, stopping):
                task.cancel()
            await asyncio.wait([feeding, stopping])
        self._stops.check()

    async def _feed(self, batch: sa.Row[Any], owner: str) -> None:
        """Runs the lines that wait, side by side."""
        caller = self._service.keys.caller_named(batch.key)
        rank = Rank(batch.key, caller.weight, batch.priority, batch.serial)
        async with asyncio.TaskGroup() as lines:
            async for row in self._waiting(batch.id):
                await asyncio.sleep(self._started_at + row.attempts * SUSPECT_S - time.monotonic())
                place = self.places.one(rank, row.attempts, alone=row.attempts == MAX_ATTEMPTS - 1)
                begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                run = _Run(batch, owner, caller, begun.set_result)
                lines.create_task(self._line(run, row, place))
                await begun

    async def _line(self, run: _Run, row: sa.Row[Any], place: AbstractAsyncContextManager[Place]) -> None:
        """One line from waiting to its answer."""
        batch, caller, attempt = run.batch, run.caller, row.attempts + 1
        async with place as held:
            run.has_place(None)
            try:
                if not await self.ledger.begin(batch.id, row.number, attempt, run.owner):
                    return
                with self._metrics.at_work.track_inprogress():
                    begun_at = time.monotonic()
                    raw = await asyncio.to_thread(self._read, batch.input_file_id, row)
                    answer = await self._runner.run(raw, caller, held)
                if await self.ledger.end(batch.id, row.number, attempt, answer):
                    seconds = time.monotonic() - begun_at
                    self._metrics.count_line(caller.name, answer.status, answer.audio_s, seconds)
            except asyncio.CancelledError:
                await self.ledger.give_back(batch.id, row.number, attempt)
                raise

    async def _waiting(self, batch_id: str) -> AsyncIterator[sa.Row[Any]]:
        """The rows of the lines that wait, in order: suspects come last."""
        last = (0, 0)
        while rows := await asyncio.to_thread(self._chunk, batch_id, last):
            for row in rows:
                last = (row.attempts, row.number)
                yield row

    def _chunk(self, batch_id: str, after: tuple[int, int]) -> list[sa.Row[Any]]:
        waits = (LINES.c.batch_id == batch_id) & (LINES.c.status == "waiting")
        order = (LINES.c.attempts, LINES.c.number)
        cursor = sa.tuple_(*map(sa.literal, after))
        with self._engine.connect() as connection:
            query = sa.select(LINES).where(waits, sa.tuple_(*order) > cursor).order_by(*order)
            return list(connection.execute(query.limit(CHUNK_LINES)).all())

    def _take_over(self, batch_id: str, owner: str) -> None:
        """Lines at work belong to a gateway that ended: they wait again, but not for ever. If it only passed
        for dead, it begins no line of the batch any more, and what it still answers does not count."""
        at_work = (LINES.c.batch_id == batch_id) & (LINES.c.status == "running")
        with writing(self._engine) as connection:
            connection.execute(sa.update(BATCHES).where(BATCHES.c.id == batch_id).values(owner=owner))
            too_often = at_work & (LINES.c.attempts >= MAX_ATTEMPTS)
            for row in connection.execute(sa.select(LINES).where(too_often)).all():
                message = f"the server ended {MAX_ATTEMPTS} times while it ran this request"
                answer = failed(row.custom_id, "worker_crashed", message)
                this = (LINES.c.batch_id == batch_id) & (LINES.c.number == row.number)
                values = {"status": answer.status, "answer": answer.text}
                connection.execute(sa.update(LINES).where(this).values(**values))
                counted = sa.update(BATCHES).where(BATCHES.c.id == batch_id)
                connection.execute(counted.values(failed=BATCHES.c.failed + 1))
            connection.execute(sa.update(LINES).where(at_work).values(status="waiting"))

    def _read(self, file_id: str, row: sa.Row[Any]) -> bytes:
        return self._contents.read(file_id, row.position, row.bytes)

    def _row(self, batch_id: str) -> sa.Row[Any] | None:
        with self._engine.connect() as connection:
            return connection.execute(sa.select(BATCHES).where(BATCHES.c.id == batch_id)).one_or_none()
