"""The lines of a batch → its output and error files, and its last state. Blocks: for a thread.

Done twice, because the process ended in between, it writes the same files again and ends the batch once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any, Literal

import sqlalchemy as sa

from gateway.job_rows import now
from gateway.jobs.database import writing
from gateway.jobs.engine.line_answers import failed
from gateway.jobs.engine.validation import record_end
from gateway.jobs.files.catalogue import BATCH_OUTPUT, Stored, add_row
from gateway.jobs.files.contents import Contents
from gateway.jobs.tables import BATCHES, FILES, LINES
from gateway.webhooks.outbox import Outbox

End = Literal["completed", "expired", "cancelled"]
UNANSWERED = {
    "expired": ("batch_expired", "the batch expired before this request was run"),
    "cancelled": ("batch_cancelled", "the batch was cancelled before this request was run"),
}
CHUNK_LINES = 500
GRACE_S = 86_400  # for which files that are deleted after use stay: the result may be asked for again


class Finishing:
    """Ends one batch after another."""

    def __init__(
        self, engine: sa.Engine, contents: Contents, outbox: Outbox | None, retention_s: float
    ) -> None:
        self._engine = engine
        self._contents = contents
        self._outbox = outbox
        self._retention_s = retention_s

    def run(self, batch_id: str) -> None:
        """Brings a batch whose lines are at rest to completed, expired or cancelled.

        One that is not cancelled and has lines left, or none yet, has expired.
        """
        with writing(self._engine) as connection:
            live = BATCHES.c.status.in_(("validating", "in_progress", "cancelling"))
            connection.execute(
                sa.update(BATCHES)
                .where(BATCHES.c.id == batch_id, live)
                .values(status="finalizing", finalizing_at=now())
            )
        with self._engine.connect() as connection:
            batch = connection.execute(sa.select(BATCHES).where(BATCHES.c.id == batch_id)).one()
            if batch.status != "finalizing":
                return
            end = _end(connection, batch)
        files = [self._write(batch, kind, end) for kind in ("output", "error")]
        self._commit(batch, end, [file for file in files if file is not None])

    def _write(self, batch: sa.Row[Any], kind: str, end: End) -> Stored | None:
        """The file, if it has a line."""
        name = f"file-{batch.id.removeprefix('batch_')}-{kind}"  # the same one if this is done twice
        sha256 = hashlib.sha256()
        num_bytes = 0
        with self._contents.writing(name) as file:
            for text in self._lines(batch.id, kind, end):
                line = text.encode() + b"\n"
                sha256.update(line)
                num_bytes += len(line)
                file.write(line)
        if not num_bytes:
            self._contents.remove(name)
            return None
        expires_s = batch.output_expires_s or int(self._retention_s)
        filename = f"{batch.id}_{kind}.jsonl"
        return Stored(name, filename, BATCH_OUTPUT, num_bytes, sha256.hexdigest(), expires_s)

    def _lines(self, batch_id: str, kind: str, end: End) -> Iterable[str]:
        wanted = LINES.c.status == "done" if kind == "output" else LINES.c.status != "done"
        last = 0
        with self._engine.connect() as connection:
            while True:
                rows = connection.execute(
                    sa.select(LINES.c.number, LINES.c.custom_id, LINES.c.status, LINES.c.answer)
                    .where(LINES.c.batch_id == batch_id, wanted, LINES.c.number > last)
                    .order_by(LINES.c.number)
                    .limit(CHUNK_LINES)
                ).all()
                if not rows:
                    return
                last = rows[-1].number
                for row in rows:
                    is_answered = row.status in ("done", "failed")
                    yield row.answer if is_answered else failed(row.custom_id, *UNANSWERED[end]).text

    def _commit(self, batch: sa.Row[Any], end: End, files: list[Stored]) -> None:
        with writing(self._engine) as connection:
            ids = {file.filename.rpartition("_")[2].removesuffix(".jsonl"): file.id for file in files}
            values = {
                "status": end,
                f"{end}_at": now(),
                "failed": BATCHES.c.total - BATCHES.c.completed,
                "output_file_id": ids.get("output"),
                "error_file_id": ids.get("error"),
            }
            ended = sa.update(BATCHES).where(BATCHES.c.id == batch.id, BATCHES.c.status == "finalizing")
            if connection.execute(ended.values(**values)).rowcount != 1:
                return  # another gateway was quicker
            for file in files:
                add_row(connection, batch.key, file)
            if batch.delete_after_use:
                _expire_its_files(connection, batch)
            connection.execute(sa.delete(LINES).where(LINES.c.batch_id == batch.id))
            row = connection.execute(sa.select(BATCHES).where(BATCHES.c.id == batch.id)).one()
            record_end(self._outbox, connection, row)


def _expire_its_files(connection: sa.Connection, batch: sa.Row[Any]) -> None:
    """Its input and its audio stay for a while; what another batch needs stays until that one has ended."""
    soon = now() + GRACE_S
    audio = sa.select(LINES.c.file_id).where(LINES.c.batch_id == batch.id, LINES.c.file_id.is_not(None))
    its = (FILES.c.id == batch.input_file_id) | FILES.c.id.in_(audio)
    mine = (FILES.c.key == batch.key) & (FILES.c.expires_at > soon) & its
    connection.execute(sa.update(FILES).where(mine).values(expires_at=soon))


def _end(connection: sa.Connection, batch: sa.Row[Any]) -> End:
    """The last state, which follows from the rows alone."""
    if batch.cancelling_at is not None:
        return "cancelled"
    left = (LINES.c.batch_id == batch.id) & LINES.c.status.in_(("waiting", "running"))
    is_left = connection.execute(sa.select(LINES.c.number).where(left).limit(1)).first() is not None
    return "expired" if is_left or batch.in_progress_at is None else "completed"
