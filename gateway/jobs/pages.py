"""OpenAI's lists: a page of rows, and the cursor to the next one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sa

from gateway.jobs.ids import is_id
from gateway.jobs.refusals import Refused


@dataclass(frozen=True, slots=True)
class Page:
    """Which rows a list shows."""

    after: str | None = None  # the id of the last row of the page before
    limit: int = 20
    order: Literal["asc", "desc"] = "desc"


def listed(
    connection: sa.Connection,
    table: sa.Table,
    where: sa.ColumnElement[bool],
    page: Page,
    shown: Callable[[sa.Row[Any]], dict[str, Any]],
) -> dict[str, Any]:
    """The page; raises Refused for a cursor that is no row of this list."""
    newest_first = page.order == "desc"
    place = sa.tuple_(table.c.serial, table.c.id)
    query = sa.select(table).where(where)
    if page.after is not None:
        mine = sa.select(table.c.serial, table.c.id).where(where, table.c.id == page.after)
        row = connection.execute(mine).one_or_none() if is_id(page.after) else None
        if row is None:
            raise Refused(f"after is {page.after[:80]!r}, must be an id of this list", param="after")
        cursor = sa.tuple_(sa.literal(row.serial, sa.BigInteger), sa.literal(row.id, sa.String))
        query = query.where(place < cursor if newest_first else place > cursor)
    columns = (table.c.serial, table.c.id)
    query = query.order_by(*(column.desc() if newest_first else column.asc() for column in columns))
    rows = connection.execute(query.limit(page.limit + 1)).all()
    data = [shown(row) for row in rows[: page.limit]]
    return {
        "object": "list",
        "data": data,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
        "has_more": len(rows) > page.limit,
    }
