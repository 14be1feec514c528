"""Endpoints: the KubeFATE service of each site. One comes with a site's first participant."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncSession

from fedcore.errors import Conflict, NotFound
from fedhub.domain.access import Permission, Principal, authorize, of_site, visible
from fedhub.domain.models import Endpoint, Site
from fedhub.services.context import HubContext, notify_sites
from fedhub.services.events import record
from fedhub.services.planning import ask_endpoint_removal
from fedhub.services.resources import ResourceDetail, endpoint_detail
from fedhub.services.sites import require as require_site
from fedhub.store import documents, endpoints, participants, sites, statuses
from fedsql.cursors import Page


async def list_page(
    hub: HubContext, principal: Principal, *, cursor: str | None, limit: int
) -> Page[ResourceDetail[Endpoint]]:
    """Return endpoints by name, each with its latest report."""
    visibility = visible(principal, Permission.READ)
    async with hub.database.read() as db:
        page = await endpoints.list_page(db, visibility, cursor=cursor, limit=limit)
        ids = [endpoint.id for endpoint in page.items]
        reports = await statuses.of_resources(db, ids)
        stored = await documents.of_resources(db, ids)
        by_id = {site.id: site for site in await sites.all(db)}
    details = tuple(
        endpoint_detail(
            endpoint, by_id[endpoint.site_id], stored.get(endpoint.id), reports.get(endpoint.id)
        )
        for endpoint in page.items
    )
    return Page(details, page.next_cursor)


async def get(hub: HubContext, principal: Principal, site_name: str) -> ResourceDetail[Endpoint]:
    """Return the endpoint of a site."""
    async with hub.database.read() as db:
        site = await require_site(db, site_name)
        authorize(principal, Permission.READ, of_site(site))
        endpoint = await _require(db, site)
        document = await documents.get(db, endpoint.id)
        report = await statuses.get(db, endpoint.id)
    return endpoint_detail(endpoint, site, document, report)


async def remove(hub: HubContext, principal: Principal, site_name: str) -> None:
    """Remove the KubeFATE that we installed at a site (an adopted one is only let go).

    Conflict names the participants that still need it.
    """
    async with hub.database.begin() as db:
        site = await require_site(db, site_name)
        authorize(principal, Permission.MANAGE_SITES, of_site(site))
        served = await participants.of_site(db, site.id)
        if served:
            raise Conflict(
                f"the endpoint of {site_name} serves {', '.join(row.name for row in served)}: "
                "remove them first"
            )
        endpoint = await _require(db, site)
        await endpoints.update(db, endpoint.id, removing=True)
        await ask_endpoint_removal(hub, db, endpoint)
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


async def _require(db: AsyncSession, site: Site) -> Endpoint:
    endpoint = await endpoints.by_site(db, site.id)
    if endpoint is None:
        raise NotFound(f"site {site.name} has no endpoint; one comes with its first participant")
    return endpoint
