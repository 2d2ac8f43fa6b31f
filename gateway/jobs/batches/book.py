"""The rows of the batches: made, shown, listed, cancelled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import sqlalchemy as sa

from gateway.job_rows import Page, is_id, new_id, now, serial
from gateway.jobs.batches.new_batch import NewBatch
from gateway.jobs.batches.shown import batch_object
from gateway.jobs.database import writing
from gateway.jobs.files.catalogue import BATCH, UNFINISHED, found
from gateway.jobs.pages import listed
from gateway.jobs.refusals import BatchNotFound, BatchQueueFull, Conflict, FileNotFound, Refused
from gateway.jobs.replies import RETRY_WINDOW_S, Asked, Reply, earlier_reply, remember
from gateway.jobs.tables import BATCHES
from gateway.settings import JobsSettings


class Submit(Protocol):
    """Has a batch run, once the transaction that made it commits."""

    def __call__(self, connection: sa.Connection, batch_id: str, key: str, priority: int) -> None: ...


class Batches:
    """The batches of all callers. Every method blocks: call it in a thread."""

    def __init__(
        self,
        engine: sa.Engine,
        settings: JobsSettings,
        submit: Submit,
        cancelled: Callable[[str], None],
    ) -> None:
        """cancelled: gets the id of a batch whose cancellation has begun."""
        self._engine = engine
        self._settings = settings
        self._submit = submit
        self._cancelled = cancelled

    def create(self, asked: Asked, new: NewBatch, digest: str | None = None) -> Reply:
        """OpenAI's Batch. Raises Refused, BatchQueueFull and KeyReused.

        digest: by which the same request is recognised, if not by `new`.
        """
        digest = digest or new.digest
        with writing(self._engine, f"batches {asked.key}") as connection:
            if (reply := earlier_reply(connection, asked, digest)) is not None:
                return reply
            if asked.is_retry and (row := _same(connection, asked.key, digest)) is not None:
                return Reply(batch_object(row), is_replayed=True)
            self._check_room(connection, asked.key)
            _check_input(connection, asked.key, new.input_file_id)
            row = _insert(connection, asked.key, new, digest)
            self._submit(connection, row.id, asked.key, new.priority)
            return remember(connection, asked, digest, batch_object(row))

    def get(self, key: str, batch_id: str) -> dict[str, Any]:
        """OpenAI's Batch; raises BatchNotFound."""
        with self._engine.connect() as connection:
            return batch_object(_found(connection, key, batch_id), _positions(connection, key))

    def list(self, key: str, page: Page) -> dict[str, Any]:
        """OpenAI's list; raises Refused."""
        with self._engine.connect() as connection:
            positions = _positions(connection, key)
            return listed(
                connection, BATCHES, BATCHES.c.key == key, page, lambda row: batch_object(row, positions)
            )

    def cancel(self, key: str, batch_id: str) -> dict[str, Any]:
        """OpenAI's Batch, `cancelling`; a second call does nothing. Raises BatchNotFound and Conflict."""
        with writing(self._engine, f"batch {batch_id}") as connection:
            row = _found(connection, key, batch_id)
            if row.status not in UNFINISHED:
                raise Conflict(f"the batch is {row.status} already", "batch_not_cancellable")
            if row.status in ("validating", "in_progress"):
                connection.execute(
                    sa.update(BATCHES)
                    .where(BATCHES.c.id == batch_id)
                    .values(status="cancelling", cancelling_at=now())
                )
                row = _found(connection, key, batch_id)
        self._cancelled(batch_id)
        return batch_object(row)

    def _check_room(self, connection: sa.Connection, key: str) -> None:
        running = connection.execute(
            sa.select(sa.func.count()).where(BATCHES.c.key == key, BATCHES.c.status.in_(UNFINISHED))
        ).scalar_one()
        if running >= self._settings.max_batches_per_key:
            raise BatchQueueFull(f"{running} batches of this key are not finished; wait for one of them")


def _positions(connection: sa.Connection, key: str) -> dict[str, int]:
    """How many of the key's unfinished batches go before each of them."""
    mine = (BATCHES.c.key == key) & BATCHES.c.status.in_(UNFINISHED)
    ids = sa.select(BATCHES.c.id).where(mine).order_by(BATCHES.c.priority, BATCHES.c.serial)
    return {batch_id: position for position, batch_id in enumerate(connection.execute(ids).scalars())}


def _check_input(connection: sa.Connection, key: str, file_id: str) -> None:
    try:
        row = found(connection, key, file_id)
    except FileNotFound as error:
        raise Refused(error.message, error.code, param="input_file_id") from error
    if row.purpose != BATCH:
        raise Refused(
            f"the purpose of {file_id} is {row.purpose}, must be {BATCH}",
            "invalid_file_purpose",
            param="input_file_id",
        )


def _insert(connection: sa.Connection, key: str, new: NewBatch, digest: str) -> sa.Row[Any]:
    batch_id, created = new_id("batch_"), now()
    connection.execute(
        sa.insert(BATCHES).values(
            id=batch_id,
            key=key,
            serial=serial(),
            status="validating",
            endpoint=new.endpoint,
            input_file_id=new.input_file_id,
            completion_window=new.completion_window,
            priority=new.priority,
            metadata=new.metadata,
            digest=digest,
            output_expires_s=new.output_expires_s,
            delete_after_use=new.delete_after_use,
            webhook_url=new.webhook_url,
            created_at=created,
            expires_at=created + new.window_s,
        )
    )
    return connection.execute(sa.select(BATCHES).where(BATCHES.c.id == batch_id)).one()


def _same(connection: sa.Connection, key: str, digest: str) -> sa.Row[Any] | None:
    """The batch that the same request made a moment ago."""
    return connection.execute(
        sa.select(BATCHES)
        .where(
            BATCHES.c.key == key,
            BATCHES.c.digest == digest,
            BATCHES.c.created_at >= now() - RETRY_WINDOW_S,
        )
        .order_by(BATCHES.c.serial)
        .limit(1)
    ).one_or_none()


def _found(connection: sa.Connection, key: str, batch_id: str) -> sa.Row[Any]:
    mine = (BATCHES.c.id == batch_id) & (BATCHES.c.key == key)
    row = connection.execute(sa.select(BATCHES).where(mine)).one_or_none() if is_id(batch_id) else None
    if row is None:
        raise BatchNotFound(f"there is no batch {batch_id[:80]!r}", param="batch_id")
    return row
