"""What nobody needs any more goes, and what got lost is found. Every method blocks: call it in a thread."""

from __future__ import annotations

import sqlalchemy as sa

from gateway.job_rows import now
from gateway.jobs.database import writing
from gateway.jobs.engine.durable import Durable
from gateway.jobs.files.catalogue import UNFINISHED, is_in_use
from gateway.jobs.files.contents import Contents
from gateway.jobs.replies import KEPT_S
from gateway.jobs.tables import BATCHES, FILES, PARTS, REPLIES, UPLOADS
from gateway.settings import JobsSettings

SWEEP_S = 60.0  # between two sweeps
CHUNK = 500


class Sweeper:
    """Looks after the rows and the bytes of all callers."""

    def __init__(
        self, engine: sa.Engine, contents: Contents, durable: Durable, settings: JobsSettings
    ) -> None:
        self._engine = engine
        self._contents = contents
        self._durable = durable
        self._settings = settings

    def sweep(self) -> None:
        """All of it."""
        self._expire_files()
        self._expire_uploads()
        self._forget_rows()
        self._forget_bytes()
        self._durable.forget_ended()

    def submit_lost(self) -> None:
        """Has batches run that are not finished and that no executor knows: the tables of dbos were lost."""
        unfinished = sa.select(BATCHES).where(BATCHES.c.status.in_(UNFINISHED))
        with self._engine.connect() as connection:
            rows = connection.execute(unfinished).all()
        for start in range(0, len(rows), CHUNK):
            chunk = rows[start : start + CHUNK]
            known = self._durable.known([row.id for row in chunk])
            for row in chunk:
                if row.id not in known:
                    with writing(self._engine) as connection:
                        self._durable.submit(connection, row.id, row.key, row.priority)

    def _expire_files(self) -> None:
        with writing(self._engine) as connection:
            expired = sa.select(FILES.c.id).where(FILES.c.expires_at <= now()).limit(CHUNK)
            names = [
                name for name in connection.execute(expired).scalars() if not is_in_use(connection, name)
            ]
            connection.execute(sa.delete(FILES).where(FILES.c.id.in_(names)))
        self._contents.remove(*names)

    def _expire_uploads(self) -> None:
        with writing(self._engine) as connection:
            over = (UPLOADS.c.expires_at <= now()) & (UPLOADS.c.status == "pending")
            ids = list(connection.execute(sa.select(UPLOADS.c.id).where(over).limit(CHUNK)).scalars())
            theirs = PARTS.c.upload_id.in_(ids)
            names = list(connection.execute(sa.select(PARTS.c.id).where(theirs)).scalars())
            connection.execute(sa.delete(PARTS).where(theirs))
            connection.execute(sa.update(UPLOADS).where(UPLOADS.c.id.in_(ids)).values(status="expired"))
        self._contents.remove(*names)

    def _forget_rows(self) -> None:
        long_ago = now() - int(self._settings.retention_s)
        ended = BATCHES.c.status.not_in(UNFINISHED) & (BATCHES.c.expires_at <= long_ago)
        with writing(self._engine) as connection:
            connection.execute(sa.delete(BATCHES).where(ended))
            connection.execute(sa.delete(UPLOADS).where(UPLOADS.c.expires_at <= long_ago))
            connection.execute(sa.delete(REPLIES).where(REPLIES.c.created_at <= now() - KEPT_S))

    def _forget_bytes(self) -> None:
        names = self._contents.forgotten()
        for start in range(0, len(names), CHUNK):
            chunk = names[start : start + CHUNK]
            rows = sa.union_all(
                sa.select(FILES.c.id).where(FILES.c.id.in_(chunk)),
                sa.select(PARTS.c.id).where(PARTS.c.id.in_(chunk)),
            )
            with self._engine.connect() as connection:
                owned = set(connection.execute(rows).scalars())
            self._contents.remove(*(name for name in chunk if name not in owned))
