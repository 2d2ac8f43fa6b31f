"""The actor that calls gateways: a block of entries → a block of rows."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from bulk.shards import entries_of
from bulk_rows import row_tables
from bulk_rows.gateway_calls import GatewayCalls

if TYPE_CHECKING:
    import pyarrow


class GatewayRows:
    """Async, so that an actor has several blocks in flight; a request takes a thread, of `in_flight`."""

    def __init__(self, in_flight: int, **calls: Any) -> None:
        self._calls = GatewayCalls(**calls)
        self._pool = ThreadPoolExecutor(in_flight)

    async def __call__(self, block: pyarrow.Table) -> pyarrow.Table:
        loop = asyncio.get_running_loop()
        waiting = [loop.run_in_executor(self._pool, self._calls, entry) for entry in entries_of(block)]
        return row_tables.table_of(await asyncio.gather(*waiting))
