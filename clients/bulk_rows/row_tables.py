"""Rows as Parquet, with one schema for all; the functions need pyarrow."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import IO, TYPE_CHECKING, Any, cast

from bulk_rows.places import NO_PYARROW
from bulk_rows.rows import SEGMENT_FIELDS, WORD_FIELDS, Row, from_mapping
from whisper_client.errors import BadArgument

if TYPE_CHECKING:
    import pyarrow

ROWS_AT_ONCE = 1_000  # of a file that is written: a row of an hour has 1 MB


def schema() -> pyarrow.Schema:
    import pyarrow as pa

    def pieces(names: tuple[str, ...], texts: tuple[str, ...]) -> Any:
        kinds = [(name, pa.string() if name in texts else pa.float64()) for name in names]
        return pa.list_(pa.struct(kinds))

    text, number = pa.string(), pa.float64()
    return pa.schema(
        [
            pa.field("id", text, nullable=False),
            pa.field("path", text, nullable=False),
            *((name, text) for name in ("text", "language")),
            ("duration", number),
            ("segments", pieces(SEGMENT_FIELDS, ("text",))),
            ("words", pieces(WORD_FIELDS, ("word",))),
            *((name, text) for name in ("model", "error", "error_code")),
            ("attempts", pa.int32()),
        ]
    )


def table_of(rows: Iterable[Row]) -> pyarrow.Table:
    import pyarrow as pa

    dicts = [{field.name: getattr(row, field.name) for field in dataclasses.fields(row)} for row in rows]
    return pa.Table.from_pylist(dicts, schema=schema())


def rows_of_table(table: pyarrow.Table) -> list[Row]:
    return [from_mapping(fields) for fields in table.to_pylist()]


def write_parquet(rows: Iterable[Row], file: IO[bytes]) -> None:
    import pyarrow.parquet as pq

    waiting = iter(rows)
    with pq.ParquetWriter(file, schema()) as writer:
        while part := list(islice(waiting, ROWS_AT_ONCE)):
            writer.write_table(table_of(part))


def read_dicts(file: IO[bytes]) -> Iterator[dict[str, Any]]:
    """The rows of any table; raises BadArgument."""
    check_pyarrow()
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        for batch in pq.ParquetFile(file).iter_batches():
            yield from cast("list[dict[str, Any]]", batch.to_pylist())
    except (pa.ArrowException, OSError) as error:
        raise BadArgument(f"not a Parquet file: {error}") from error


def check_pyarrow() -> None:
    """Raises BadArgument where pyarrow is missing."""
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        raise BadArgument(f"Parquet {NO_PYARROW}") from None
