"""The rows of the files: whose they are, what they hold and how long they stay."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from gateway.job_rows import Page, is_id, new_id, now, serial
from gateway.jobs.database import writing
from gateway.jobs.files.contents import Contents, sha256_of
from gateway.jobs.pages import listed
from gateway.jobs.refusals import Conflict, FileNotFound, Refused, StorageFull
from gateway.jobs.replies import RETRY_WINDOW_S, Asked, Reply, digest_of, earlier_reply, remember
from gateway.jobs.tables import BATCHES, FILES, LINES
from gateway.settings import JobsSettings

BATCH, USER_DATA, BATCH_OUTPUT = "batch", "user_data", "batch_output"
PURPOSES = (BATCH, USER_DATA)  # that callers give
MIN_EXPIRES_S, MAX_EXPIRES_S = 3_600, 2_592_000
MAX_FILENAME_CHARS = 512
UNFINISHED = ("validating", "in_progress", "finalizing", "cancelling")


@dataclass(frozen=True, slots=True)
class NewFile:
    """What a caller says about a file."""

    filename: str
    purpose: str
    expires_s: int | None = None  # lifetime; None: the settings'

    def __post_init__(self) -> None:
        """Raises Refused."""
        if self.purpose not in PURPOSES:
            raise Refused(
                f"purpose is {self.purpose[:80]!r}, must be {' or '.join(PURPOSES)}",
                "invalid_purpose",
                param="purpose",
            )
        check_lifetime(self.expires_s, "expires_after[seconds]")
        if len(self.filename) > MAX_FILENAME_CHARS or not self.filename.isprintable():
            raise Refused(f"the filename must be a text of {MAX_FILENAME_CHARS} characters", param="file")


@dataclass(frozen=True, slots=True)
class Stored:
    """A file whose bytes are on the disk."""

    id: str
    filename: str
    purpose: str
    num_bytes: int
    sha256: str
    expires_s: int  # lifetime


class Files:
    """The files of all callers. Every method blocks: call it in a thread."""

    def __init__(self, engine: sa.Engine, contents: Contents, settings: JobsSettings) -> None:
        self._engine = engine
        self._contents = contents
        self._settings = settings

    def add(self, asked: Asked, incoming: Path, new: NewFile) -> Reply:
        """Takes a received file in; raises StorageFull, KeyReused and Overloaded."""
        sha256 = sha256_of(incoming)
        stored = Stored(
            new_id("file-"), new.filename, new.purpose, incoming.stat().st_size, sha256, self.lifetime_s(new)
        )
        digest = digest_of(new.filename, new.purpose, new.expires_s, sha256)
        self._contents.adopt(incoming, stored.id)
        try:
            reply = self._insert(asked, digest, stored)
        except BaseException:
            self._contents.remove(stored.id)
            raise
        if reply.is_replayed:
            self._contents.remove(stored.id)
        return reply

    def _insert(self, asked: Asked, digest: str, stored: Stored) -> Reply:
        with writing(self._engine, f"files {asked.key}") as connection:
            if (reply := earlier_reply(connection, asked, digest)) is not None:
                return reply
            if asked.is_retry and (row := _same(connection, asked.key, stored)) is not None:
                return Reply(file_object(row), is_replayed=True)
            self.check_room(connection, asked.key, stored.num_bytes)
            return remember(connection, asked, digest, file_object(add_row(connection, asked.key, stored)))

    def lifetime_s(self, new: NewFile) -> int:
        """Seconds for which a new file stays."""
        return new.expires_s or int(self._settings.retention_s)

    def check_room(self, connection: sa.Connection, key: str, num_bytes: int) -> None:
        """Raises StorageFull."""
        stored = connection.execute(
            sa.select(sa.func.coalesce(sa.func.sum(FILES.c.bytes), 0)).where(FILES.c.key == key)
        ).scalar_one()
        most = self._settings.max_stored_bytes_per_key
        if stored + num_bytes > most:
            raise StorageFull(
                f"{stored} bytes are stored for this key, and {most} may be; delete files, or wait until "
                "some expire"
            )

    def get(self, key: str, file_id: str) -> sa.Row[Any]:
        """The row; raises FileNotFound."""
        with self._engine.connect() as connection:
            return found(connection, key, file_id)

    def show(self, key: str, file_id: str) -> dict[str, Any]:
        """OpenAI's FileObject; raises FileNotFound."""
        return file_object(self.get(key, file_id))

    def list(self, key: str, page: Page, purpose: str | None) -> dict[str, Any]:
        """OpenAI's list; raises Refused."""
        where = (FILES.c.key == key) & (FILES.c.expires_at > now())
        if purpose is not None:
            where &= FILES.c.purpose == purpose
        with self._engine.connect() as connection:
            return listed(connection, FILES, where, page, file_object)

    def delete(self, key: str, file_id: str) -> dict[str, Any]:
        """OpenAI's answer; raises FileNotFound, or Conflict while a batch needs the file."""
        with writing(self._engine, f"files {key}") as connection:
            found(connection, key, file_id)
            if is_in_use(connection, file_id):
                raise Conflict(f"a batch that is not finished needs {file_id}", "file_in_use")
            connection.execute(sa.delete(FILES).where(FILES.c.id == file_id))
        self._contents.remove(file_id)
        return {"id": file_id, "object": "file", "deleted": True}

    def fetch(self, file_id: str, target: Path) -> Path:
        """Where this machine has the bytes: `target`, if they had to be brought. Raises FileNotFound."""
        try:
            return self._contents.fetch(file_id, target)
        except FileNotFoundError:
            raise FileNotFound(f"the content of {file_id} is there no more", param="file_id") from None

    def first_line(self, file_id: str) -> bytes:
        with self._contents.local(file_id) as path, path.open("rb") as file:
            return file.readline()


def _same(connection: sa.Connection, key: str, stored: Stored) -> sa.Row[Any] | None:
    """The file that the same request made a moment ago."""
    return connection.execute(
        sa.select(FILES)
        .where(
            FILES.c.key == key,
            FILES.c.sha256 == stored.sha256,
            FILES.c.filename == stored.filename,
            FILES.c.purpose == stored.purpose,
            FILES.c.created_at >= now() - RETRY_WINDOW_S,
        )
        .order_by(FILES.c.serial)
        .limit(1)
    ).one_or_none()


def add_row(connection: sa.Connection, key: str, stored: Stored) -> sa.Row[Any]:
    """Inserts a file's row and returns it."""
    created = now()
    connection.execute(
        sa.insert(FILES).values(
            id=stored.id,
            key=key,
            serial=serial(),
            bytes=stored.num_bytes,
            filename=stored.filename,
            purpose=stored.purpose,
            sha256=stored.sha256,
            created_at=created,
            expires_at=created + stored.expires_s,
        )
    )
    return connection.execute(sa.select(FILES).where(FILES.c.id == stored.id)).one()


def found(connection: sa.Connection, key: str, file_id: str) -> sa.Row[Any]:
    """The row of the key's file; raises FileNotFound."""
    mine = (FILES.c.id == file_id) & (FILES.c.key == key) & (FILES.c.expires_at > now())
    row = connection.execute(sa.select(FILES).where(mine)).one_or_none() if is_id(file_id) else None
    if row is None:
        raise FileNotFound(f"there is no file {file_id[:80]!r}", param="file_id")
    return row


def is_in_use(connection: sa.Connection, file_id: str) -> bool:
    """Whether a batch that is not finished reads the file. A finished batch has no lines."""
    as_input = sa.select(BATCHES.c.id).where(
        BATCHES.c.input_file_id == file_id, BATCHES.c.status.in_(UNFINISHED)
    )
    as_audio = sa.select(LINES.c.batch_id).where(LINES.c.file_id == file_id)
    return connection.execute(sa.union_all(as_input, as_audio).limit(1)).first() is not None


def file_object(row: sa.Row[Any]) -> dict[str, Any]:
    """OpenAI's FileObject."""
    return {
        "id": row.id,
        "object": "file",
        "bytes": row.bytes,
        "created_at": row.created_at,
        "filename": row.filename,
        "purpose": row.purpose,
        "status": "processed",
        "expires_at": row.expires_at,
    }


def check_lifetime(seconds: int | None, param: str) -> None:
    """Raises Refused unless the seconds are None or OpenAI allows them."""
    if seconds is not None and not MIN_EXPIRES_S <= seconds <= MAX_EXPIRES_S:
        raise Refused(f"{param} is {seconds}, must be {MIN_EXPIRES_S} to {MAX_EXPIRES_S}", param=param)
