"""Entries as Parquet, and back from a block of it: id, path, options as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from bulk_rows.entries import Entry

if TYPE_CHECKING:
    import pyarrow

SHARD_ROWS = 1_000


def shard_of(entries: Sequence[Entry]) -> pyarrow.Table:
    import pyarrow as pa

    columns = {
        "id": [entry.id for entry in entries],
        "path": [entry.path for entry in entries],
        "options": [json.dumps(dict(entry.options), ensure_ascii=False) for entry in entries],
    }
    return pa.table(columns, schema=pa.schema([(name, pa.string()) for name in columns]))


def entries_of(block: pyarrow.Table) -> list[Entry]:
    return [Entry(row["id"], row["path"], json.loads(row["options"])) for row in block.to_pylist()]
