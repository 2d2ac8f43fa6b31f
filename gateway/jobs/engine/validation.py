"""An input file → the rows of its lines, or the errors for which the batch fails. Blocks: for a thread."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import IO, Any

import sqlalchemy as sa

from gateway.job_rows import is_id, now
from gateway.jobs.batches.input_lines import (
    MAX_FILE_BYTES,
    InputLine,
    KnowsModel,
    LineError,
    checked_lines,
)
from gateway.jobs.batches.shown import batch_object
from gateway.jobs.database import writing
from gateway.jobs.files.contents import Contents
from gateway.jobs.tables import BATCHES, FILES, LINES
from gateway.webhooks.outbox import Outbox

CHUNK_LINES = 1_000  # of one transaction
MAX_ERRORS = 100  # that a batch shows
MAX_ATTEMPTS = 3  # at one thing that may have ended the process


class NoLongerValidating(Exception):
    """The batch was cancelled meanwhile."""


class Validation:
    """Makes the lines of one batch after another."""

    def __init__(self, engine: sa.Engine, contents: Contents, outbox: Outbox | None, max_lines: int) -> None:
        self._engine = engine
        self._contents = contents
        self._outbox = outbox
        self._max_lines = max_lines

    def run(self, batch: sa.Row[Any], knows_model: KnowsModel) -> None:
        """Brings a validating batch to in_progress or failed. Begins from the start if it was interrupted."""
        self._begin(batch.id)
        errors: list[LineError] = []
        if batch.attempts >= MAX_ATTEMPTS:
            errors = [
                LineError("worker_crashed", f"the server ended {MAX_ATTEMPTS} times at this file", None)
            ]
            self._fail(batch, errors)
            return
        total, model = 0, None
        try:
            with self._contents.local(batch.input_file_id) as path, path.open("rb") as file:
                for chunk in _chunks(self._checked(file, batch, knows_model)):
                    lines = [line for line in chunk if isinstance(line, InputLine)]
                    errors += [one for one in chunk if isinstance(one, LineError)]
                    model = model or (lines[0].model if lines else None)
                    total += len(lines)
                    errors += self._insert(batch, lines, keep=not errors)
                    if len(errors) >= MAX_ERRORS:
                        break
        except FileNotFoundError:
            errors = [LineError("file_not_found", "the input file is there no more", None, "input_file_id")]
        if errors:
            self._fail(batch, errors[:MAX_ERRORS])
            return
        moved = {"status": "in_progress", "in_progress_at": now(), "total": total, "model": model}
        with writing(self._engine) as connection:
            connection.execute(_still_validating(batch.id).values(**moved, attempts=0))

    def _checked(
        self, file: IO[bytes], batch: sa.Row[Any], knows_model: KnowsModel
    ) -> Iterator[InputLine | LineError]:
        if file.seek(0, 2) > MAX_FILE_BYTES:
            return iter([LineError("file_too_large", f"the file has more than {MAX_FILE_BYTES} bytes", None)])
        file.seek(0)
        return checked_lines(file, batch.endpoint, self._max_lines, knows_model)

    def _begin(self, batch_id: str) -> None:
        with writing(self._engine) as connection:
            connection.execute(sa.delete(LINES).where(LINES.c.batch_id == batch_id))
            connection.execute(_still_validating(batch_id).values(attempts=BATCHES.c.attempts + 1))

    def _insert(self, batch: sa.Row[Any], lines: list[InputLine], *, keep: bool) -> list[LineError]:
        """Writes the rows unless the batch has failed already; returns lines whose file is missing."""
        with writing(self._engine) as connection:
            status = sa.select(BATCHES.c.status).where(BATCHES.c.id == batch.id)
            if connection.execute(status).scalar() != "validating":
                raise NoLongerValidating
            wanted = {line.file_id for line in lines if line.file_id is not None}
            there = _known_files(connection, batch.key, wanted)
            missing = [line for line in lines if line.file_id is not None and line.file_id not in there]
            if keep and lines and not missing:
                connection.execute(sa.insert(LINES), [_row(batch.id, line) for line in lines])
        return [
            LineError("file_not_found", f"there is no file {line.file_id!r:.80}", line.number, "body.file_id")
            for line in missing
        ]

    def _fail(self, batch: sa.Row[Any], errors: list[LineError]) -> None:
        with writing(self._engine) as connection:
            connection.execute(sa.delete(LINES).where(LINES.c.batch_id == batch.id))
            values = {"status": "failed", "failed_at": now(), "errors": [error.shown() for error in errors]}
            if connection.execute(_still_validating(batch.id).values(**values)).rowcount == 1:
                row = connection.execute(sa.select(BATCHES).where(BATCHES.c.id == batch.id)).one()
                record_end(self._outbox, connection, row)


def record_end(outbox: Outbox | None, connection: sa.Connection, batch: sa.Row[Any]) -> None:
    """Tells of the end of a batch, in the transaction that ends it; without webhooks nobody is told."""
    if outbox is None:
        return
    shown = batch_object(batch)
    data = {name: shown[name] for name in ("id", "status", "request_counts", "metadata")}
    outbox.record_event(connection, batch.key, f"batch.{batch.status}", data, batch.webhook_url)


def _still_validating(batch_id: str) -> sa.Update:
    return sa.update(BATCHES).where(BATCHES.c.id == batch_id, BATCHES.c.status == "validating")


def _known_files(connection: sa.Connection, key: str, wanted: set[str]) -> set[str]:
    names = [name for name in wanted if is_id(name)]
    mine = (FILES.c.id.in_(names)) & (FILES.c.key == key) & (FILES.c.expires_at > now())
    return set(connection.execute(sa.select(FILES.c.id).where(mine)).scalars()) if names else set()


def _row(batch_id: str, line: InputLine) -> dict[str, Any]:
    return {
        "batch_id": batch_id,
        "number": line.number,
        "custom_id": line.custom_id,
        "position": line.position,
        "bytes": line.num_bytes,
        "file_id": line.file_id,
        "status": "waiting",
        "attempts": 0,
    }


def _chunks(lines: Iterator[InputLine | LineError]) -> Iterator[list[InputLine | LineError]]:
    while chunk := list(itertools.islice(lines, CHUNK_LINES)):
        yield chunk
