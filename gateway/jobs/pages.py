"""OpenAI's lists: a page of rows, and the cursor to the next one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

from gateway.job_rows import Page, page_of


def listed(
    connection: sa.Connection,
    table: sa.Table,
    where: sa.ColumnElement[bool],
    page: Page,
    shown: Callable[[sa.Row[Any]], dict[str, Any]],
) -> dict[str, Any]:
    """The page; raises InvalidOption for a cursor that is no row of this list."""
    found = page_of(connection, sa.select(table), table, (where,), page)
    data = [shown(row) for row in found.rows]
    return {
        "object": "list",
        "data": data,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
        "has_more": found.has_more,
    }
