"""Federations: the stored intent."""

from __future__ import annotations

from datetime import datetime
from typing import Final, TypedDict, Unpack

from sqlalchemy import delete as delete_from
from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from fedcore.errors import NotFound
from fedhub.domain.access import Visibility
from fedhub.domain.models import Federation
from fedhub.store.tables import FederationTable, table_of
from fedhub.store.visibility import is_visible
from fedsql.cursors import Page, page_of
from fedsql.statements import fetch_all, fetch_one, is_sqlite, update_row, values_of

_T: Final = table_of(FederationTable)


class FederationColumns(TypedDict, total=False):
    """The columns of a federation that change after it was stored."""

    release: str
    intent: dict[str, object]
    revision: int
    updated_at: datetime
    removing: bool


async def add(db: AsyncSession, federation: Federation) -> None:
    """Store a new federation; its name must be free (Conflict)."""
    await db.execute(insert(_T).values(values_of(federation)))


async def find(db: AsyncSession, federation_id: str) -> Federation | None:
    """Return a federation, or None."""
    return await fetch_one(db, Federation, select(_T).where(_T.c.id == federation_id))


async def get(db: AsyncSession, federation_id: str) -> Federation:
    """Return a federation, or raise NotFound."""
    federation = await find(db, federation_id)
    if federation is None:
        raise NotFound(f"there is no federation {federation_id}")
    return federation


async def by_name(db: AsyncSession, name: str) -> Federation | None:
    """Return the federation called ``name``, or None."""
    return await fetch_one(db, Federation, select(_T).where(_T.c.name == name))


async def id_of(db: AsyncSession, name: str) -> str | None:
    """Return the id of the federation called ``name``, or None; its intent may be long."""
    federation_id: str | None = await db.scalar(select(_T.c.id).where(_T.c.name == name))
    return federation_id


async def all(db: AsyncSession) -> tuple[Federation, ...]:  # noqa: A001 - read as federations.all
    """Return every federation by name."""
    return await fetch_all(db, Federation, select(_T).order_by(_T.c.name))


async def domains(db: AsyncSession) -> tuple[tuple[str, str], ...]:
    """Return the name and the domain of every federation; their intents may be long."""
    rows = await db.execute(select(_T.c.name, _T.c.domain).order_by(_T.c.name))
    return tuple((row.name, row.domain) for row in rows)


async def list_page(
    db: AsyncSession, visibility: Visibility, *, cursor: str | None, limit: int
) -> Page[Federation]:
    """Return one page of the visible federations by name."""
    return await page_of(
        db,
        Federation,
        select(_T).where(is_visible(db, visibility, federation_id=_T.c.id)),
        [_T.c.name],
        [str],
        key=lambda federation: [federation.name],
        cursor=cursor,
        limit=limit,
    )


async def update(
    db: AsyncSession, federation_id: str, **columns: Unpack[FederationColumns]
) -> Federation:
    """Change columns of a federation and return it, or raise NotFound."""
    changed = await update_row(db, _T, Federation, federation_id, columns)
    if changed is None:
        raise NotFound(f"there is no federation {federation_id}")
    return changed


async def lock(db: AsyncSession, federation_id: str) -> None:
    """Keep other transactions from changing this federation until the end of this one.

    What was read before may be old by now: read again after it. SQLite has one writer anyway.
    """
    if not is_sqlite(db):
        await db.execute(select(_T.c.id).where(_T.c.id == federation_id).with_for_update())


async def delete(db: AsyncSession, federation_id: str) -> None:
    """Forget a federation; Conflict while it has participants."""
    await db.execute(delete_from(_T).where(_T.c.id == federation_id))
