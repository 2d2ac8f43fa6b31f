"""Which gateway this is, among those that share the jobs; and which of the others is dead.

SQLite: a lock on the directory, so that there is one gateway. PostgreSQL: the lowest number whose lock no
other session holds. The database frees it with the connection, so a gateway that starts again has its number.
"""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import IO

import sqlalchemy as sa

from gateway.jobs.database import writing
from gateway.jobs.tables import GATEWAYS
from gateway.settings_errors import SettingsError

NAMESPACE = 20_481  # of our locks among those of the database
MAX_GATEWAYS = 64
BEAT_S = 5.0
SILENT_S = 30.0  # without a beat a gateway counts as dead
NOW = sa.func.extract("epoch", sa.func.clock_timestamp())  # the database's clock, which all gateways share


class Identity:
    """This process's name, `id`, for as long as it lives."""

    def __init__(self, engine: sa.Engine, directory: Path) -> None:
        """Raises SettingsError if another gateway has the directory."""
        self._engine = engine
        self._file: IO[bytes] | None = None
        self._session: sa.Connection | None = None
        if engine.dialect.name == "sqlite":
            self._file = _locked(directory / "lock")
            self.id = "gateway-0"
        else:
            self._session = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
            self.id = f"gateway-{_free_number(self._session)}"

    @property
    def is_shared(self) -> bool:
        """Whether there may be other gateways."""
        return self._session is not None

    def beat(self) -> None:
        """Says that this gateway lives. Blocks."""
        with writing(self._engine, "gateways") as connection:
            mine = GATEWAYS.c.id == self.id
            if connection.execute(sa.update(GATEWAYS).where(mine).values(seen_at=NOW)).rowcount == 0:
                connection.execute(sa.insert(GATEWAYS).values(id=self.id, seen_at=NOW))

    def dead(self) -> list[str]:
        """Gateways that said nothing for a while. Blocks."""
        silent = (GATEWAYS.c.seen_at < NOW - SILENT_S) & (GATEWAYS.c.id != self.id)
        with self._engine.connect() as connection:
            return list(connection.execute(sa.select(GATEWAYS.c.id).where(silent)).scalars())

    def forget(self, dead: list[str]) -> None:
        """Names them no more. Blocks."""
        with writing(self._engine, "gateways") as connection:
            silent = (GATEWAYS.c.seen_at < NOW - SILENT_S) & GATEWAYS.c.id.in_(dead)
            connection.execute(sa.delete(GATEWAYS).where(silent))

    def close(self) -> None:
        """Gives the name back."""
        if self._file is not None:
            self._file.close()
        if self._session is not None:
            self._session.execute(sa.text("SELECT pg_advisory_unlock_all()"))  # the pool keeps the session
            self._session.close()


def _locked(path: Path) -> IO[bytes]:
    file = path.open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        raise SettingsError(
            f"jobs.directory is '{path.parent}', which another gateway uses: give each its own, or set "
            "jobs.database to a PostgreSQL for all of them"
        ) from error
    return file


def _free_number(session: sa.Connection) -> int:
    lock = sa.text("SELECT pg_try_advisory_lock(:namespace, :number)")
    for number in range(MAX_GATEWAYS):
        if session.execute(lock, {"namespace": NAMESPACE, "number": number}).scalar_one():
            return number
    raise SettingsError(f"jobs.database: {MAX_GATEWAYS} gateways use it already")
