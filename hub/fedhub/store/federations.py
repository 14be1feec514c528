"""Federations: the stored intent."""

from __future__ import annotations

from typing import Final

from sqlalchemy import delete as delete_from
from sqlalchemy import insert, select
from sqlalchemy import update as update_of
from sqlalchemy.ext.asyncio import AsyncSession

from fedcore.errors import NotFound
from fedhub.domain.models import Federation
from fedhub.store.tables import FederationTable, table_of
from fedsql.cursors import Page, page_of
from fedsql.statements import fetch_all, fetch_one, is_sqlite, values_of

_T: Final = table_of(FederationTable)


async def add(db: AsyncSession, federation: Federation) -> None:
    """Store a new federation; its name must be free (Conflict)."""
    await db.execute(insert(_T).values(values_of(federation)))


async def find(db: AsyncSession, federation_id: str) -> Federation | None:
    """Return a federation, or None."""
    return await fetch_one(db, Federation, select(_T).where(_T.c.id == federation_id))


async def get(db: AsyncSession, federation_id: str) -> Federation:
    """Return a federation, or raise NotFound."""
    found = await find(db, federation_id)
    if found is None:
        raise NotFound(f"there is no federation {federation_id}")
    return found


async def by_name(db: AsyncSession, name: str) -> Federation | None:
    """Return the federation called ``name``, or None."""
    return await fetch_one(db, Federation, select(_T).where(_T.c.name == name))


async def id_of(db: AsyncSession, name: str) -> str | None:
    """Return the id of the federation called ``name``, or None; its intent may be long."""
    found: str | None = await db.scalar(select(_T.c.id).where(_T.c.name == name))
    return found


async def all(db: AsyncSession) -> tuple[Federation, ...]:  # noqa: A001 - read as federations.all
    """Return every federation by name."""
    return await fetch_all(db, Federation, select(_T).order_by(_T.c.name))


async def list_page(db: AsyncSession, *, cursor: str | None, limit: int) -> Page[Federation]:
    """Return one page of federations by name."""
    return await page_of(
        db,
        Federation,
        select(_T),
        [_T.c.name],
        [str],
        key=lambda federation: [federation.name],
        cursor=cursor,
        limit=limit,
    )


async def update(db: AsyncSession, federation_id: str, **columns: object) -> Federation:
    """Change columns of a federation and return it."""
    statement = update_of(_T).where(_T.c.id == federation_id).values(columns).returning(*_T.c)
    row = (await db.execute(statement)).mappings().first()
    if row is None:
        raise NotFound(f"there is no federation {federation_id}")
    return Federation(**row)


async def lock(db: AsyncSession, federation_id: str) -> None:
    """Keep other transactions from changing this federation until the end of this one.

    What was read before may be old by now: read again after it. SQLite has one writer anyway.
    """
    if not is_sqlite(db):
        await db.execute(select(_T.c.id).where(_T.c.id == federation_id).with_for_update())


async def delete(db: AsyncSession, federation_id: str) -> None:
    """Forget a federation; Conflict while it has participants."""
    await db.execute(delete_from(_T).where(_T.c.id == federation_id))
