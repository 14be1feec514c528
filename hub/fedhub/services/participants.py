"""Participants and endpoints, as lists and one by one."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession

from fedcore.errors import Conflict, NotFound
from fedcore.words import Phase
from fedhub.domain.access import Permission, Principal, ResourceType, not_found
from fedhub.domain.models import Endpoint, Participant, Site, StoredDocument, StoredStatus
from fedhub.services import operations as operation_service
from fedhub.services.context import HubContext, notify_sites
from fedhub.services.events import record
from fedhub.services.sites import require as require_site
from fedhub.store import documents, endpoints, federations, participants, sites, statuses
from fedhub.store.participants import ParticipantRow
from fedsql.cursors import Page


@dataclass(frozen=True, slots=True)
class ResourceDetail:
    """All that is known of one resource: row, site, document and latest report."""

    row: ParticipantRow | Endpoint
    site: Site
    document: StoredDocument | None
    status: StoredStatus | None

    def participant_row(self) -> ParticipantRow:
        """Return the row of a participant."""
        if not isinstance(self.row, ParticipantRow):
            raise TypeError("this is an endpoint")
        return self.row

    def endpoint_row(self) -> Endpoint:
        """Return the row of an endpoint."""
        if not isinstance(self.row, Endpoint):
            raise TypeError("this is a participant")
        return self.row


async def list_page(
    hub: HubContext,
    principal: Principal,
    *,
    federation: str | None,
    site: str | None,
    phase: Phase | None,
    cursor: str | None,
    limit: int,
) -> Page[ParticipantRow]:
    """Return participants by name."""
    principal.require(Permission.READ)
    async with hub.database.read() as db:
        return await participants.list_page(
            db,
            federation_id=await _id_of(db, federation) if federation is not None else None,
            site_id=(await require_site(db, site)).id if site is not None else None,
            phase=phase,
            cursor=cursor,
            limit=limit,
        )


async def _id_of(db: AsyncSession, federation: str) -> str:
    found = await federations.id_of(db, federation)
    if found is None:
        raise not_found(ResourceType.FEDERATION, federation)
    return found


async def get(hub: HubContext, principal: Principal, name: str) -> ResourceDetail:
    """Return one participant by ``federation/key`` or id."""
    principal.require(Permission.READ)
    async with hub.database.read() as db:
        row = await require(db, name)
        return ResourceDetail(
            row=row,
            site=await sites.get(db, row.site_id),
            document=await documents.get(db, row.id),
            status=await statuses.get(db, row.id),
        )


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
    await operation_service.drop_target(hub, db, participant.id)
    await participants.delete(db, participant.id)


def unknown(name: str) -> NotFound:
    """Build the error for a name that no participant has."""
    return NotFound(f"there is no participant {name}; `fedctl get participants` lists them")


async def list_endpoints(
    hub: HubContext, principal: Principal, *, cursor: str | None, limit: int
) -> Page[ResourceDetail]:
    """Return endpoints by name, each with its latest report."""
    principal.require(Permission.READ)
    async with hub.database.read() as db:
        page = await endpoints.list_page(db, cursor=cursor, limit=limit)
        ids = [endpoint.id for endpoint in page.items]
        reported = await statuses.of_resources(db, ids)
        stored = await documents.of_resources(db, ids)
        by_id = {site.id: site for site in await sites.all(db)}
    return Page(
        tuple(
            ResourceDetail(e, by_id[e.site_id], stored.get(e.id), reported.get(e.id))
            for e in page.items
        ),
        page.next_cursor,
    )


async def get_endpoint(hub: HubContext, principal: Principal, site_name: str) -> ResourceDetail:
    """Return the endpoint of a site."""
    principal.require(Permission.READ)
    async with hub.database.read() as db:
        site = await require_site(db, site_name)
        endpoint = await endpoints.by_site(db, site.id)
        if endpoint is None:
            raise NotFound(
                f"site {site_name} has no endpoint; one comes with its first participant"
            )
        return ResourceDetail(
            row=endpoint,
            site=site,
            document=await documents.get(db, endpoint.id),
            status=await statuses.get(db, endpoint.id),
        )


async def remove_endpoint(hub: HubContext, principal: Principal, site_name: str) -> None:
    """Remove the KubeFATE that we installed at a site (an adopted one is only let go).

    Conflict names the participants that still need it.
    """
    principal.require(Permission.MANAGE_SITES)
    async with hub.database.begin() as db:
        site = await require_site(db, site_name)
        rows = await participants.of_site(db, site.id)
        if rows:
            raise Conflict(
                f"the endpoint of {site_name} serves {', '.join(row.name for row in rows)}: "
                "remove them first"
            )
        endpoint = await endpoints.by_site(db, site.id)
        if endpoint is None:
            raise NotFound(f"site {site_name} has no endpoint")
        await endpoints.update(db, endpoint.id, removing=True)
        await documents.make_absent(db, endpoint.id, hub.clock.now())
        await record(
            hub,
            db,
            "endpoint.removing",
            f"{principal.name} removes the endpoint of site {site_name}",
            actor=principal,
            site_id=site.id,
            resource_id=endpoint.id,
        )
    notify_sites(hub, [site.id])
