"""Endpoints: the KubeFATE service of each site."""

from __future__ import annotations

from typing import Final, TypedDict, Unpack

from sqlalchemy import delete as delete_from
from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from fedcore.errors import NotFound
from fedhub.domain.access import Visibility
from fedhub.domain.models import Endpoint
from fedhub.store.tables import EndpointTable, table_of
from fedhub.store.visibility import is_visible
from fedsql.cursors import Page, page_of
from fedsql.statements import fetch_all, fetch_one, update_row, values_of

_T: Final = table_of(EndpointTable)


class EndpointColumns(TypedDict, total=False):
    """The columns of an endpoint that change after it was stored."""

    mode: str
    removing: bool


async def add(db: AsyncSession, endpoint: Endpoint) -> None:
    """Store a new endpoint; a site has one (Conflict)."""
    await db.execute(insert(_T).values(values_of(endpoint)))


async def find(db: AsyncSession, endpoint_id: str) -> Endpoint | None:
    """Return an endpoint, or None."""
    return await fetch_one(db, Endpoint, select(_T).where(_T.c.id == endpoint_id))


async def by_site(db: AsyncSession, site_id: str) -> Endpoint | None:
    """Return the endpoint of a site, or None."""
    return await fetch_one(db, Endpoint, select(_T).where(_T.c.site_id == site_id))


async def all(db: AsyncSession) -> tuple[Endpoint, ...]:  # noqa: A001 - read as endpoints.all
    """Return every endpoint by name."""
    return await fetch_all(db, Endpoint, select(_T).order_by(_T.c.name, _T.c.id))


async def list_page(
    db: AsyncSession, visibility: Visibility, *, cursor: str | None, limit: int
) -> Page[Endpoint]:
    """Return one page of the visible endpoints by name."""
    return await page_of(
        db,
        Endpoint,
        select(_T).where(is_visible(db, visibility, site_id=_T.c.site_id)),
        [_T.c.name, _T.c.id],
        [str, str],
        key=lambda endpoint: [endpoint.name, endpoint.id],
        cursor=cursor,
        limit=limit,
    )


async def update(
    db: AsyncSession, endpoint_id: str, **columns: Unpack[EndpointColumns]
) -> Endpoint:
    """Change columns of an endpoint and return it, or raise NotFound."""
    changed = await update_row(db, _T, Endpoint, endpoint_id, columns)
    if changed is None:
        raise NotFound(f"there is no endpoint {endpoint_id}")
    return changed


async def delete(db: AsyncSession, endpoint_id: str) -> None:
    """Forget an endpoint."""
    await db.execute(delete_from(_T).where(_T.c.id == endpoint_id))
