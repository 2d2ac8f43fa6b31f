"""The one engine of the jobs' database: a SQLite file, or PostgreSQL for several gateways.

Every transaction that writes goes through `writing`: SQLite takes its lock at the start, so that nothing that
was read in the transaction is out of date when it writes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event

BUSY_TIMEOUT_MS = 30_000  # another connection's transaction may fill a slow disk
POOL_SIZE = 20

METADATA = sa.MetaData()  # every table of the jobs; dbos keeps its own tables in the same database


def open_engine(url: str) -> sa.Engine:
    """An engine for `sqlite:///…` or `postgresql://…`; connects on first use. Its tables: `create_tables`."""
    parsed = sa.make_url(url)
    if parsed.get_backend_name() == "postgresql":
        parsed = parsed.set(drivername="postgresql+psycopg")
        return sa.create_engine(parsed, pool_size=POOL_SIZE, pool_pre_ping=True)
    engine = sa.create_engine(parsed, pool_size=POOL_SIZE)
    event.listen(engine, "connect", _prepare_sqlite)
    return engine


def create_tables(engine: sa.Engine, metadata: sa.MetaData = METADATA) -> None:
    """Creates tables that are missing, and nullable columns that an older release's tables lack.
    Harmless while another gateway does the same."""
    with writing(engine, "tables") as connection:
        metadata.create_all(connection)
        inspector = sa.inspect(connection)
        for table in metadata.tables.values():
            there = {column["name"] for column in inspector.get_columns(table.name)}
            for column in table.columns:
                if column.name not in there:
                    kind = column.type.compile(engine.dialect)
                    connection.execute(sa.text(f"ALTER TABLE {table.name} ADD COLUMN {column.name} {kind}"))


@contextmanager
def writing(engine: sa.Engine, lock: str = "") -> Iterator[sa.Connection]:
    """A transaction that commits with the block.

    lock: of two blocks with the same one, one waits for the other; SQLite has one for all blocks.
    """
    with engine.begin() as connection:
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        elif lock:
            connection.execute(
                sa.text("SELECT pg_advisory_xact_lock(hashtextextended(:lock, 0))"), {"lock": lock}
            )
        yield connection


def _prepare_sqlite(connection: Any, _record: object) -> None:
    """Readers never wait for the writer (WAL), and a commit survives a power cut (FULL)."""
    connection.isolation_level = "IMMEDIATE"  # what dbos begins implicitly takes the lock at once too
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        f"busy_timeout={BUSY_TIMEOUT_MS}",
        "foreign_keys=ON",
    ):
        connection.execute(f"PRAGMA {pragma}")
