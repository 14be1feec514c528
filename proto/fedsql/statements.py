"""The few statements that the two databases spell differently."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import (
    ARRAY,
    Column,
    ColumnElement,
    Table,
    Text,
    any_,
    bindparam,
    func,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

if TYPE_CHECKING:
    from _typeshed import DataclassInstance
    from sqlalchemy import Select

T = TypeVar("T")


def is_sqlite(db: AsyncSession) -> bool:
    """Return whether the session talks to SQLite."""
    return db.get_bind().dialect.name == "sqlite"


def upsert(db: AsyncSession, table: Table) -> sqlite.Insert | postgresql.Insert:
    """Begin an INSERT that can say ON CONFLICT."""
    return sqlite.insert(table) if is_sqlite(db) else postgresql.insert(table)


def in_list(db: AsyncSession, column: Column[Any], values: Collection[str]) -> ColumnElement[bool]:
    """Build ``column IN values`` with one parameter: no limit on their number, one cached plan."""
    if is_sqlite(db):
        listed = func.json_each(json.dumps(list(values))).table_valued("value")
        return column.in_(select(listed.c.value))
    return column == any_(bindparam(None, list(values), type_=ARRAY(Text), unique=True))


def values_of(record: DataclassInstance) -> dict[str, Any]:
    """Return the fields of a record by name: the columns of its row."""
    return {field.name: getattr(record, field.name) for field in fields(record)}


async def fetch_one(db: AsyncSession, kind: Callable[..., T], statement: Select[Any]) -> T | None:
    """Read at most one row as a record."""
    row = (await db.execute(statement)).mappings().first()
    return None if row is None else kind(**row)


async def fetch_all(
    db: AsyncSession, kind: Callable[..., T], statement: Select[Any]
) -> tuple[T, ...]:
    """Read all rows as records."""
    return tuple(kind(**row) for row in (await db.execute(statement)).mappings())


async def update_row(
    db: AsyncSession, table: Table, kind: Callable[..., T], row_id: str, columns: Mapping[str, Any]
) -> T | None:
    """Change columns of the row with this ``id`` and return it; None when it is not there."""
    statement = update(table).where(table.c.id == row_id).values(columns).returning(*table.c)
    row = (await db.execute(statement)).mappings().first()
    return None if row is None else kind(**row)
