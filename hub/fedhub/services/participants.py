"""Participants: exchanges and clusters, as lists and one by one."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncSession

from fedcore.errors import NotFound
from fedcore.words import Phase
from fedhub.domain.access import (
    Permission,
    Principal,
    ResourceType,
    authorize,
    not_found,
    of_participant,
    visible,
)
from fedhub.domain.models import Participant
from fedhub.services.context import HubContext
from fedhub.services.operation_outcomes import drop_target
from fedhub.services.resources import (
    ResourceDetail,
    ResourceSummary,
    participant_detail,
    participant_status,
)
from fedhub.services.sites import require as require_site
from fedhub.store import documents, federations, participants, sites, statuses
from fedhub.store.participants import ParticipantRow
from fedsql.cursors import Page


async def list_page(
    hub: HubContext,
    principal: Principal,
    *,
    federation: str | None,
    site: str | None,
    phase: Phase | None,
    cursor: str | None,
    limit: int,
) -> Page[ResourceSummary[ParticipantRow]]:
    """Return participants by name, with where each stands; ``phase`` is the one that it shows."""
    visibility = visible(principal, Permission.READ)
    async with hub.database.read() as db:
        page = await participants.list_page(
            db,
            visibility,
            federation_id=await _id_of(db, federation) if federation is not None else None,
            site_id=(await require_site(db, site)).id if site is not None else None,
            phase=phase,
            cursor=cursor,
            limit=limit,
        )
    summaries = tuple(ResourceSummary(row, participant_status(row)) for row in page.items)
    return Page(summaries, page.next_cursor)


async def _id_of(db: AsyncSession, federation: str) -> str:
    federation_id = await federations.id_of(db, federation)
    if federation_id is None:
        raise not_found(ResourceType.FEDERATION, federation)
    return federation_id


async def get(hub: HubContext, principal: Principal, name: str) -> ResourceDetail[ParticipantRow]:
    """Return one participant by ``federation/key`` or id."""
    async with hub.database.read() as db:
        row = await require(db, name)
        authorize(principal, Permission.READ, of_participant(row))
        site = await sites.get(db, row.site_id)
        document = await documents.get(db, row.id)
        report = await statuses.get(db, row.id)
    return participant_detail(row, site, document, report)


async def require(db: AsyncSession, name: str) -> ParticipantRow:
    """Return the participant called ``federation/key`` (or with that id) or raise NotFound."""
    row = await participants.row_by_name(db, name)
    if row is None:
        raise unknown(name)
    return row


async def forget(hub: HubContext, db: AsyncSession, participant: Participant) -> None:
    """Delete a participant with its document and its status: the only function that does.

    No operation waits for it any more. Whether its site has anything left is the caller's to know:
    its agent verified that it is gone, or people gave it up, or nothing of it was ever there.
    """
    await documents.delete(db, participant.id)
    await statuses.delete(db, participant.id)
    await drop_target(hub, db, participant.id)
    await participants.delete(db, participant.id)


def unknown(name: str) -> NotFound:
    """Build the error for a name that no participant has."""
    return NotFound(f"there is no participant {name}; `fedctl get participants` lists them")
