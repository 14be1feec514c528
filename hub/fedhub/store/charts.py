"""Charts: what lists show, and the archives apart from it."""

from __future__ import annotations

from typing import Final

from sqlalchemy import delete as delete_from
from sqlalchemy import func, insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from fedcore.errors import NotFound
from fedhub.domain.models import Chart
from fedhub.store.tables import ArchiveTable, ChartTable, table_of
from fedsql.cursors import Page, page_of
from fedsql.statements import fetch_one, values_of

_T: Final = table_of(ChartTable)
_ARCHIVE: Final = table_of(ArchiveTable)


async def add(db: AsyncSession, chart: Chart, archive: bytes) -> None:
    """Store an archive; name and version must be free (Conflict)."""
    await db.execute(insert(_T).values(values_of(chart)))
    await db.execute(insert(_ARCHIVE).values(sha256=chart.sha256, data=archive))


async def get(db: AsyncSession, sha256: str) -> Chart:
    """Return a chart by its digest, or raise NotFound."""
    chart = await fetch_one(db, Chart, select(_T).where(_T.c.sha256 == sha256))
    if chart is None:
        raise NotFound(f"there is no chart {sha256}; `fedctl get charts` lists them")
    return chart


async def find(db: AsyncSession, name: str, version: str) -> Chart | None:
    """Return the chart of a name and version, or None."""
    return await fetch_one(db, Chart, select(_T).where(_T.c.name == name, _T.c.version == version))


async def list_page(db: AsyncSession, *, cursor: str | None, limit: int) -> Page[Chart]:
    """Return one page of charts by name and version."""
    return await page_of(
        db,
        Chart,
        select(_T),
        [_T.c.name, _T.c.version],
        [str, str],
        key=lambda chart: [chart.name, chart.version],
        cursor=cursor,
        limit=limit,
    )


async def digests(db: AsyncSession) -> frozenset[str]:
    """Return the digests of all charts."""
    return frozenset((await db.scalars(select(_T.c.sha256))).all())


async def read(db: AsyncSession, sha256: str, offset: int, length: int) -> bytes:
    """Return ``length`` bytes of an archive from ``offset`` on, fewer at its end; or NotFound."""
    part = func.substr(_ARCHIVE.c.data, offset + 1, length)
    data: bytes | None = await db.scalar(select(part).where(_ARCHIVE.c.sha256 == sha256))
    if data is None:
        raise NotFound(f"there is no chart {sha256}")
    return bytes(data)


async def delete(db: AsyncSession, sha256: str) -> None:
    """Forget a chart and its archive."""
    await db.execute(delete_from(_T).where(_T.c.sha256 == sha256))
