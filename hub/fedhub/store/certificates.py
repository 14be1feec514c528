"""Certificates of things at sites, for lists; the authority keeps its own record in its ledger."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Final

from sqlalchemy import func, select
from sqlalchemy import update as update_of
from sqlalchemy.ext.asyncio import AsyncSession

from fedhub.domain.access import Visibility
from fedhub.domain.models import SiteCertificate
from fedhub.store.tables import CertificateTable, ParticipantTable, table_of
from fedhub.store.visibility import is_visible
from fedsql.cursors import Page, page_of
from fedsql.statements import fetch_all, fetch_one, in_list, upsert, values_of

_T: Final = table_of(CertificateTable)
_PARTICIPANT: Final = table_of(ParticipantTable)
_AGENT: Final = "agent"


async def add(db: AsyncSession, certificate: SiteCertificate) -> None:
    """Store a certificate; one whose serial is there already is ignored."""
    statement = upsert(db, _T).values(values_of(certificate))
    await db.execute(statement.on_conflict_do_nothing())


async def find(db: AsyncSession, serial: str) -> SiteCertificate | None:
    """Return the certificate with a serial, or None."""
    return await fetch_one(db, SiteCertificate, select(_T).where(_T.c.serial == serial))


async def of_agent(db: AsyncSession, site_id: str) -> tuple[SiteCertificate, ...]:
    """Return the certificates of a site's agents that are not revoked."""
    statement = select(_T).where(
        _T.c.site_id == site_id, _T.c.profile == _AGENT, _T.c.revoked_at.is_(None)
    )
    return await fetch_all(db, SiteCertificate, statement.order_by(_T.c.issued_at, _T.c.serial))


async def of_gone(db: AsyncSession, site_id: str, *, at: datetime) -> tuple[SiteCertificate, ...]:
    """Return a site's certificates in force whose participant the hub no longer knows."""
    participant = select(_PARTICIPANT.c.id).where(_PARTICIPANT.c.id == _T.c.resource_id)
    statement = select(_T).where(
        _T.c.site_id == site_id,
        _T.c.resource_id.is_not(None),
        _T.c.revoked_at.is_(None),
        _T.c.not_after > at,
        ~participant.exists(),
    )
    return await fetch_all(db, SiteCertificate, statement.order_by(_T.c.issued_at, _T.c.serial))


async def count_since(db: AsyncSession, site_id: str, since: datetime) -> int:
    """Count the certificates that a site got from ``since`` on."""
    recent = (_T.c.site_id == site_id) & (_T.c.issued_at >= since)
    counted = await db.execute(select(func.count()).select_from(_T).where(recent))
    return int(counted.scalar_one())


async def list_page(
    db: AsyncSession,
    visibility: Visibility,
    *,
    site_id: str | None = None,
    resource_ids: Collection[str] | None = None,
    expiring_before: datetime | None = None,
    cursor: str | None,
    limit: int,
) -> Page[SiteCertificate]:
    """Return one page of the visible certificates, newest first."""
    statement = select(_T).where(is_visible(db, visibility, site_id=_T.c.site_id))
    if site_id is not None:
        statement = statement.where(_T.c.site_id == site_id)
    if resource_ids is not None:
        statement = statement.where(in_list(db, _T.c.resource_id, resource_ids))
    if expiring_before is not None:
        statement = statement.where(_T.c.not_after < expiring_before)
    return await page_of(
        db,
        SiteCertificate,
        statement,
        [_T.c.issued_at, _T.c.serial],
        [datetime, str],
        key=lambda certificate: [certificate.issued_at, certificate.serial],
        cursor=cursor,
        limit=limit,
        descending=True,
    )


async def mark_revoked(db: AsyncSession, serial: str, at: datetime) -> None:
    """Note a revocation; the first one's time stays."""
    unrevoked = (_T.c.serial == serial) & _T.c.revoked_at.is_(None)
    await db.execute(update_of(_T).where(unrevoked).values(revoked_at=at))


async def mark_superseded(
    db: AsyncSession, resource_id: str, secret_name: str, *, except_serial: str
) -> None:
    """Note that a newer certificate took the place of the others in a Secret."""
    await db.execute(
        update_of(_T)
        .where(
            _T.c.resource_id == resource_id,
            _T.c.secret_name == secret_name,
            _T.c.serial != except_serial,
        )
        .values(superseded=True)
    )
