"""Participants, and the row that lists show of each."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypedDict, Unpack

from sqlalchemy import Select, false, func, insert, literal, select
from sqlalchemy import delete as delete_from
from sqlalchemy.ext.asyncio import AsyncSession

from fedcore.errors import NotFound
from fedcore.words import ParticipantKind, Phase
from fedhub.domain.access import Visibility
from fedhub.domain.models import Participant
from fedhub.domain.phases import SiteState
from fedhub.store.effective_phase import effective_phase
from fedhub.store.tables import (
    DocumentTable,
    EndpointTable,
    FederationTable,
    ParticipantTable,
    SiteTable,
    StatusTable,
    table_of,
)
from fedhub.store.visibility import is_visible
from fedsql.cursors import Page, page_of
from fedsql.statements import fetch_all, fetch_one, in_list, update_row, values_of

_T: Final = table_of(ParticipantTable)
_FEDERATION: Final = table_of(FederationTable)
_SITE: Final = table_of(SiteTable)
_DOCUMENT: Final = table_of(DocumentTable)
_STATUS: Final = table_of(StatusTable)
_ENDPOINT: Final = table_of(EndpointTable)


class ParticipantColumns(TypedDict, total=False):
    """The columns of a participant that change after it was stored."""

    removing: bool
    waiting_reason: str | None
    waiting_message: str | None


@dataclass(frozen=True, slots=True)
class ParticipantRow:
    """All that lists show of a participant. No phase: nothing was reported yet."""

    id: str
    name: str
    key: str
    role: ParticipantKind
    party_id: int
    namespace: str
    federation_id: str
    federation: str
    site_id: str
    site: str
    site_state: SiteState
    site_simulated: bool
    created_at: datetime
    removing: bool
    waiting_reason: str | None
    waiting_message: str | None
    generation: int | None
    absent: bool
    phase: Phase | None
    reason: str | None
    message: str | None
    since: datetime | None
    observed_generation: int | None
    reported_at: datetime | None


async def add(db: AsyncSession, participant: Participant) -> None:
    """Store a new participant; its namespace at the site must be free (Conflict)."""
    await db.execute(insert(_T).values(values_of(participant)))


async def find(db: AsyncSession, participant_id: str) -> Participant | None:
    """Return a participant, or None."""
    return await fetch_one(db, Participant, select(_T).where(_T.c.id == participant_id))


async def of_federation(db: AsyncSession, federation_id: str) -> tuple[Participant, ...]:
    """Return the participants of a federation, the exchange first, then by party id."""
    statement = select(_T).where(_T.c.federation_id == federation_id)
    return await fetch_all(db, Participant, statement.order_by(_T.c.party_id, _T.c.id))


async def of_site(db: AsyncSession, site_id: str) -> tuple[Participant, ...]:
    """Return the participants at a site by name."""
    statement = select(_T).where(_T.c.site_id == site_id)
    return await fetch_all(db, Participant, statement.order_by(_T.c.name, _T.c.id))


async def site_of_resource(db: AsyncSession, resource_id: str) -> str | None:
    """Return the site of a participant or an endpoint, or None when neither has this id."""
    statement = (
        select(_T.c.site_id)
        .where(_T.c.id == resource_id)
        .union_all(select(_ENDPOINT.c.site_id).where(_ENDPOINT.c.id == resource_id))
    )
    site_id: str | None = await db.scalar(statement)
    return site_id


async def sites_of_resources(db: AsyncSession, resource_ids: Sequence[str]) -> dict[str, str]:
    """Map those of ``resource_ids`` that are participants or endpoints to their sites."""
    rows = await db.execute(
        select(_T.c.id, _T.c.site_id)
        .where(in_list(db, _T.c.id, resource_ids))
        .union_all(
            select(_ENDPOINT.c.id, _ENDPOINT.c.site_id).where(
                in_list(db, _ENDPOINT.c.id, resource_ids)
            )
        )
    )
    return {row.id: row.site_id for row in rows}


async def names_of_resources(db: AsyncSession, resource_ids: Collection[str]) -> dict[str, str]:
    """Map those of ``resource_ids`` that are participants or endpoints to their names."""
    if not resource_ids:
        return {}
    endpoint = literal("endpoint/").concat(_ENDPOINT.c.name)
    rows = await db.execute(
        select(_T.c.id, _T.c.name)
        .where(in_list(db, _T.c.id, resource_ids))
        .union_all(
            select(_ENDPOINT.c.id, endpoint).where(in_list(db, _ENDPOINT.c.id, resource_ids))
        )
    )
    return {row.id: row.name for row in rows}


async def called(db: AsyncSession, name: str) -> tuple[Participant, ...]:
    """Return the participants with this name: two while one moves."""
    return await fetch_all(db, Participant, select(_T).where(_T.c.name == name).order_by(_T.c.id))


def _rows() -> Select[Any]:
    """Select list rows in one join; no document body and no report is read."""
    own = [_T.c[name] for name in ("id", "name", "key", "role", "party_id", "namespace")]
    own += [_T.c[name] for name in ("federation_id", "site_id", "created_at", "removing")]
    reported = [_STATUS.c[name] for name in ("phase", "reason", "message", "since")]
    reported += [_STATUS.c.observed_generation, _STATUS.c.reported_at]
    return select(
        *own,
        _T.c.waiting_reason,
        _T.c.waiting_message,
        _FEDERATION.c.name.label("federation"),
        _SITE.c.name.label("site"),
        _SITE.c.state.label("site_state"),
        _SITE.c.simulated.label("site_simulated"),
        _DOCUMENT.c.generation,
        func.coalesce(_DOCUMENT.c.absent, false()).label("absent"),
        *reported,
    ).select_from(
        _T.join(_FEDERATION, _FEDERATION.c.id == _T.c.federation_id)
        .join(_SITE, _SITE.c.id == _T.c.site_id)
        .outerjoin(_DOCUMENT, _DOCUMENT.c.resource_id == _T.c.id)
        .outerjoin(_STATUS, _STATUS.c.resource_id == _T.c.id)
    )


_ROWS: Final = _rows()
"""Built once: to put it together takes as long as to run it."""
_EFFECTIVE_PHASE: Final = effective_phase()


async def row_by_name(db: AsyncSession, name_or_id: str) -> ParticipantRow | None:
    """Return the row of ``federation/key`` or of an id, or None.

    Of two with one name (a move to another site) the one that stays is returned.
    """
    statement = _ROWS.where((_T.c.name == name_or_id) | (_T.c.id == name_or_id))
    ordered = statement.order_by(_T.c.removing, _T.c.id.desc()).limit(1)
    return await fetch_one(db, ParticipantRow, ordered)


async def list_page(
    db: AsyncSession,
    visibility: Visibility,
    *,
    federation_id: str | None = None,
    site_id: str | None = None,
    phase: Phase | None = None,
    cursor: str | None,
    limit: int,
) -> Page[ParticipantRow]:
    """Return one page by federation name, in it the exchange first, then by party id.

    ``phase`` is the effective one, which people are shown.
    """
    statement = _ROWS.where(
        is_visible(db, visibility, federation_id=_T.c.federation_id, site_id=_T.c.site_id)
    )
    if federation_id is not None:
        statement = statement.where(_T.c.federation_id == federation_id)
    if site_id is not None:
        statement = statement.where(_T.c.site_id == site_id)
    if phase is not None:
        statement = statement.where(_EFFECTIVE_PHASE.in_([phase]))
    return await page_of(
        db,
        ParticipantRow,
        statement,
        # An exchange's party id is 0, below every party's.
        [_FEDERATION.c.name, _T.c.party_id, _T.c.id],
        [str, int, str],
        key=lambda row: [row.federation, row.party_id, row.id],
        cursor=cursor,
        limit=limit,
    )


async def update(
    db: AsyncSession, participant_id: str, **columns: Unpack[ParticipantColumns]
) -> Participant:
    """Change columns of a participant and return it, or raise NotFound."""
    changed = await update_row(db, _T, Participant, participant_id, columns)
    if changed is None:
        raise NotFound(f"there is no participant {participant_id}")
    return changed


async def delete(db: AsyncSession, participant_id: str) -> None:
    """Forget a participant."""
    await db.execute(delete_from(_T).where(_T.c.id == participant_id))
