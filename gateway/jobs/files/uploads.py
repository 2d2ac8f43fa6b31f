"""OpenAI's uploads: a large file in parts, put together at the end."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from gateway.job_rows import is_id, new_id, now
from gateway.jobs.database import writing
from gateway.jobs.files.catalogue import Files, NewFile, Stored, add_row, file_object
from gateway.jobs.files.contents import Contents
from gateway.jobs.refusals import Conflict, FileTooLarge, Refused, UploadNotFound
from gateway.jobs.tables import PARTS, UPLOADS
from gateway.settings import JobsSettings

LIFETIME_S = 3_600  # from the first request to the last part, as OpenAI's


class Uploads:
    """The uploads of all callers. Every method blocks: call it in a thread."""

    def __init__(self, engine: sa.Engine, contents: Contents, files: Files, settings: JobsSettings) -> None:
        self._engine = engine
        self._contents = contents
        self._files = files
        self._settings = settings

    def create(self, key: str, new: NewFile, num_bytes: int) -> dict[str, Any]:
        """OpenAI's Upload; raises FileTooLarge and StorageFull."""
        most = self._settings.max_file_bytes
        if num_bytes > most:
            raise FileTooLarge(f"bytes is {num_bytes}, must be at most {most}", param="bytes")
        created = now()
        values = {
            "id": new_id("upload_"),
            "key": key,
            "bytes": num_bytes,
            "filename": new.filename,
            "purpose": new.purpose,
            "file_expires_s": new.expires_s,
            "status": "pending",
            "created_at": created,
            "expires_at": created + LIFETIME_S,
        }
        with writing(self._engine, f"files {key}") as connection:
            self._files.check_room(connection, key, num_bytes)
            connection.execute(sa.insert(UPLOADS).values(**values))
            return _shown(_pending(connection, key, str(values["id"])))

    def add_part(self, key: str, upload_id: str, incoming: Path) -> dict[str, Any]:
        """OpenAI's UploadPart; raises UploadNotFound, Conflict, FileTooLarge and Overloaded."""
        name, num_bytes, created = new_id("part_"), incoming.stat().st_size, now()
        self._contents.adopt(incoming, name)
        try:
            with writing(self._engine, f"files {key}") as connection:
                upload = _pending(connection, key, upload_id)
                so_far = connection.execute(
                    sa.select(sa.func.coalesce(sa.func.sum(PARTS.c.bytes), 0)).where(
                        PARTS.c.upload_id == upload_id
                    )
                ).scalar_one()
                if so_far + num_bytes > upload.bytes:
                    raise FileTooLarge(
                        f"the parts have {so_far + num_bytes} bytes, must be {upload.bytes} in all"
                    )
                part = {"id": name, "upload_id": upload_id, "bytes": num_bytes, "created_at": created}
                connection.execute(sa.insert(PARTS).values(**part))
        except BaseException:
            self._contents.remove(name)
            raise
        return {"id": name, "object": "upload.part", "created_at": created, "upload_id": upload_id}

    def complete(
        self, key: str, upload_id: str, part_ids: Sequence[str], md5: str | None = None
    ) -> dict[str, Any]:
        """OpenAI's Upload with its file. Raises UploadNotFound, Conflict, and Refused unless the
        parts are those of the upload and have its bytes. A second call answers as the first."""
        with self._engine.connect() as connection:
            upload = _found(connection, key, upload_id)
            if upload.status == "completed":
                return _shown(upload, file_object(self._files.get(key, upload.file_id)))
            _check_pending(upload)
            parts = {
                row.id: row.bytes
                for row in connection.execute(sa.select(PARTS).where(PARTS.c.upload_id == upload_id))
            }
        if unknown := next((one for one in part_ids if one not in parts), None):
            raise Refused(f"{unknown[:80]!r} is no part of this upload", param="part_ids")
        if len(set(part_ids)) != len(part_ids) or sum(parts[one] for one in part_ids) != upload.bytes:
            raise Refused(f"the parts must have {upload.bytes} bytes in all, each once", param="part_ids")
        name = "file-" + upload_id.removeprefix("upload_")  # the same one if this is done twice
        sha256, its_md5 = self._contents.join(part_ids, name)
        if md5 is not None and md5.lower() != its_md5:
            raise Refused(f"md5 is {md5[:80]!r}, the parts have {its_md5}", param="md5")
        lifetime_s = self._files.lifetime_s(NewFile(upload.filename, upload.purpose, upload.file_expires_s))
        stored = Stored(name, upload.filename, upload.purpose, upload.bytes, sha256, lifetime_s)
        return self._end(key, upload_id, "completed", stored)

    def cancel(self, key: str, upload_id: str) -> dict[str, Any]:
        """OpenAI's Upload; raises UploadNotFound and Conflict."""
        return self._end(key, upload_id, "cancelled", None)

    def _end(self, key: str, upload_id: str, status: str, stored: Stored | None) -> dict[str, Any]:
        with writing(self._engine, f"files {key}") as connection:
            _pending(connection, key, upload_id)
            file = file_object(add_row(connection, key, stored)) if stored else None
            connection.execute(
                sa.update(UPLOADS)
                .where(UPLOADS.c.id == upload_id)
                .values(status=status, file_id=stored.id if stored else None)
            )
            mine = PARTS.c.upload_id == upload_id
            parts = connection.execute(sa.select(PARTS.c.id).where(mine)).scalars().all()
            connection.execute(sa.delete(PARTS).where(mine))
            upload = _found(connection, key, upload_id)
        self._contents.remove(*parts)
        return _shown(upload, file)


def _found(connection: sa.Connection, key: str, upload_id: str) -> sa.Row[Any]:
    mine = (UPLOADS.c.id == upload_id) & (UPLOADS.c.key == key)
    row = connection.execute(sa.select(UPLOADS).where(mine)).one_or_none() if is_id(upload_id) else None
    if row is None:
        raise UploadNotFound(f"there is no upload {upload_id[:80]!r}", param="upload_id")
    return row


def _pending(connection: sa.Connection, key: str, upload_id: str) -> sa.Row[Any]:
    row = _found(connection, key, upload_id)
    _check_pending(row)
    return row


def _check_pending(upload: sa.Row[Any]) -> None:
    status = "expired" if upload.expires_at <= now() and upload.status == "pending" else upload.status
    if status != "pending":
        raise Conflict(f"the upload is {status}", f"upload_{status}")


def _shown(upload: sa.Row[Any], file: dict[str, Any] | None = None) -> dict[str, Any]:
    """OpenAI's Upload."""
    return {
        "id": upload.id,
        "object": "upload",
        "bytes": upload.bytes,
        "created_at": upload.created_at,
        "expires_at": upload.expires_at,
        "filename": upload.filename,
        "purpose": upload.purpose,
        "status": upload.status,
        "file": file,
    }
