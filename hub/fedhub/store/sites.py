"""Sites. When one was last heard is kept with its agent's session, and read from there."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Select, func, insert, select
from sqlalchemy import delete as delete_from
from sqlalchemy import update as update_of
from sqlalchemy.ext.asyncio import AsyncSession

from fedcore.errors import NotFound
from fedhub.domain.access import Visibility
from fedhub.domain.models import Site
from fedhub.domain.phases import SITE_TRANSITIONS, SiteState
from fedhub.store.tables import AgentSessionTable, SiteTable, table_of
from fedhub.store.visibility import is_visible
from fedsql.cursors import Page, page_of
from fedsql.statements import fetch_all, fetch_one, values_of

_T: Final = table_of(SiteTable)
_S: Final = table_of(AgentSessionTable)


def _sites() -> Select[Any]:
    """Select sites with the session's time of last contact: heartbeats never touch this table."""
    heard = func.coalesce(_S.c.last_seen_at, _T.c.last_seen_at).label("last_seen_at")
    columns = [heard if column.name == "last_seen_at" else column for column in _T.c]
    own = (_S.c.site_id == _T.c.id) & (_S.c.agent_id == _T.c.agent_id)
    return select(*columns).select_from(_T.outerjoin(_S, own))


async def add(db: AsyncSession, site: Site) -> None:
    """Store a new site; its name must be free (Conflict)."""
    await db.execute(insert(_T).values(values_of(site)))


async def find(db: AsyncSession, site_id: str) -> Site | None:
    """Return a site, or None."""
    return await fetch_one(db, Site, _sites().where(_T.c.id == site_id))


async def get(db: AsyncSession, site_id: str) -> Site:
    """Return a site, or raise NotFound."""
    site = await find(db, site_id)
    if site is None:
        raise NotFound(f"there is no site {site_id}")
    return site


async def by_name(db: AsyncSession, name: str) -> Site | None:
    """Return the site called ``name``, or None."""
    return await fetch_one(db, Site, _sites().where(_T.c.name == name))


async def all(db: AsyncSession) -> tuple[Site, ...]:  # noqa: A001 - read as sites.all
    """Return every site by name."""
    return await fetch_all(db, Site, _sites().order_by(_T.c.name))


async def names(db: AsyncSession) -> dict[str, str]:
    """Map the id of every site to its name."""
    rows = await db.execute(select(_T.c.id, _T.c.name))
    return {row.id: row.name for row in rows}


async def ids_in_states(db: AsyncSession, states: Collection[SiteState]) -> frozenset[str]:
    """Return the ids of the sites in one of ``states``."""
    return frozenset((await db.scalars(select(_T.c.id).where(_T.c.state.in_(states)))).all())


async def list_page(
    db: AsyncSession,
    visibility: Visibility,
    *,
    cursor: str | None,
    limit: int,
    state: SiteState | None = None,
) -> Page[Site]:
    """Return one page of the visible sites by name."""
    statement = _sites().where(is_visible(db, visibility, site_id=_T.c.id))
    if state is not None:
        statement = statement.where(_T.c.state == state)
    return await page_of(
        db,
        Site,
        statement,
        [_T.c.name],
        [str],
        key=lambda site: [site.name],
        cursor=cursor,
        limit=limit,
    )


async def update(db: AsyncSession, site_id: str, **columns: object) -> Site:
    """Change columns of a site and return it; ``state`` is for ``set_state``."""
    if columns:
        await db.execute(update_of(_T).where(_T.c.id == site_id).values(columns))
    return await get(db, site_id)


async def set_state(db: AsyncSession, site_id: str, state: SiteState, at: datetime) -> bool:
    """Move a site to ``state`` where the transitions allow it; return whether it moved.

    A site that is there already, or that may not go there (Revoked to Online), stays as it is.
    """
    sources = [old for old, following in SITE_TRANSITIONS.items() if state in following]
    statement = (
        update_of(_T)
        .where(_T.c.id == site_id, _T.c.state.in_(sources))
        .values(state=state, state_since=at)
        .returning(_T.c.id)
    )
    return (await db.execute(statement)).first() is not None


async def delete(db: AsyncSession, site_id: str) -> None:
    """Forget a site with its sessions, documents and statuses; Conflict if participants use it."""
    await db.execute(delete_from(_T).where(_T.c.id == site_id))
