"""`python -m bulk` whose actors die of a file named deadly.wav, as an engine might of a bad kernel."""

from __future__ import annotations

import os
import sys
from typing import Any

import bulk.command
from bulk.passes import Workers
from bulk.shards import entries_of
from bulk_rows import row_tables
from bulk_rows.rows import Row


class Deadly:
    def __call__(self, block: Any) -> Any:
        entries = entries_of(block)
        if any(entry.path.endswith("deadly.wav") for entry in entries):
            os._exit(1)
        return row_tables.table_of([Row(entry.id, entry.path, text="heard") for entry in entries])


def workers(arguments: Any) -> Workers:
    return Workers(Deadly, {}, arguments.actors, arguments.block, 1, {"num_cpus": 0.1})


if __name__ == "__main__":
    bulk.command._workers = workers
    bulk.command.GatewayCalls.check = lambda self: None  # type: ignore[method-assign]
    sys.exit(bulk.command.main(sys.argv[1:]))
