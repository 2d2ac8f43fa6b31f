"""Rows of the jobs' database: their names, their age and pages of them."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sa

from asr.errors import InvalidOption

FORM = re.compile(r"[A-Za-z0-9_-]{1,64}")


def new_id(kind: str) -> str:
    """A name that nobody guesses: `file-…`, `batch_…`."""
    return f"{kind}{uuid.uuid4().hex}"


def is_id(text: str) -> bool:
    """Whether the text can be the name of something here; others are not looked up."""
    return FORM.fullmatch(text) is not None


def now() -> int:
    """Unix seconds."""
    return int(time.time())


def serial() -> int:
    """Where a new row stands among the others by age."""
    return time.time_ns()


@dataclass(frozen=True, slots=True)
class Page:
    """Which rows a list shows."""

    after: str | None = None  # the id of the last row of the page before
    limit: int = 20
    order: Literal["asc", "desc"] = "desc"  # by age, the newest first


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of one page."""

    rows: Sequence[sa.Row[Any]]
    has_more: bool


def page_of(
    connection: sa.Connection,
    query: sa.Select[Any],
    table: sa.Table,
    where: Sequence[sa.ColumnElement[bool]],
    page: Page,
) -> Rows:
    """The page of the query's rows; raises InvalidOption for a cursor that is no row of this list.

    table: whose `id` and `serial` the cursor names, with the conditions of `where`.
    """
    newest_first = page.order == "desc"
    place = (table.c.serial, table.c.id)
    query = query.where(*where)
    if page.after is not None:
        serial_of = sa.select(table.c.serial).where(*where, table.c.id == page.after)
        serial = connection.execute(serial_of).scalar_one_or_none() if is_id(page.after) else None
        if serial is None:
            raise InvalidOption(f"after is {page.after[:80]!r}, must be an id of this list", param="after")
        cursor = sa.tuple_(sa.literal(serial, sa.BigInteger), sa.literal(page.after, sa.String))
        query = query.where(sa.tuple_(*place) < cursor if newest_first else sa.tuple_(*place) > cursor)
    query = query.order_by(*(column.desc() if newest_first else column.asc() for column in place))
    rows = connection.execute(query.limit(page.limit + 1)).all()
    return Rows(rows[: page.limit], len(rows) > page.limit)
