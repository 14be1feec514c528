"""Charts: archives that the hub serves to agents by their digest."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator

from sqlalchemy.ext.asyncio import AsyncSession

from fedcore import limits
from fedcore.errors import Invalid, NotFound
from fedhub.domain.access import Permission, Principal, Resource, ResourceType, authorize
from fedhub.domain.models import Chart
from fedhub.services import operations as operation_service
from fedhub.services.chart_archive import ChartFacts, read_chart
from fedhub.services.context import HubContext, notify_sites
from fedhub.services.events import record
from fedhub.services.planning import replan, try_load_plan_input
from fedhub.store import charts, federations
from fedsql.cursors import Page


async def upload(hub: HubContext, principal: Principal, archive: bytes) -> Chart:
    """Check and store an archive; the same archive again changes nothing.

    An archive that bears a catalogued name and version must have the catalogued digest.
    """
    authorize(principal, Permission.MANAGE_CHARTS, Resource(ResourceType.CHART))
    facts = await asyncio.to_thread(read_chart, archive)
    digest = hashlib.sha256(archive).hexdigest()
    _check_pin(hub, facts, digest)
    chart = Chart(
        sha256=digest,
        name=facts.name,
        version=facts.version,
        app_version=facts.app_version,
        size_bytes=len(archive),
        uploaded_at=hub.clock.now(),
        uploaded_by=principal.name,
    )
    async with hub.database.begin() as db:
        stored = await charts.find(db, facts.name, facts.version)
        if stored is not None and stored.sha256 == digest:
            return stored
        if stored is not None:
            raise Invalid(
                f"chart {facts.name} {facts.version} is there with digest {stored.sha256}; "
                "delete it first if this one shall replace it"
            )
        await charts.add(db, chart, archive)
        await record(
            hub,
            db,
            "chart.uploaded",
            f"{principal.name} uploaded chart {chart.name} {chart.version}",
            actor=principal,
            facts={"sha256": digest},
        )
        site_ids = await _replan_all(hub, db)
    notify_sites(hub, site_ids)
    return chart


async def _replan_all(hub: HubContext, db: AsyncSession) -> set[str]:
    """Plan every federation: documents say whether the hub serves their chart. Return the sites."""
    site_ids: set[str] = set()
    for federation in await federations.all(db):
        await federations.lock(db, federation.id)
        locked = await federations.find(db, federation.id)
        if locked is None:
            # Its last participant was gone while we waited for the lock.
            continue
        plan_input = await try_load_plan_input(hub, db, locked)
        if plan_input is None:
            continue
        replanned = await replan(hub, db, plan_input)
        await operation_service.follow_changes(db, locked.id, replanned.changed)
        site_ids |= replanned.site_ids()
    return site_ids


def _check_pin(hub: HubContext, facts: ChartFacts, digest: str) -> None:
    pins = {
        role.chart.sha256
        for release in hub.catalogue.releases
        for role in (release.exchange, release.cluster)
        if (role.chart.name, role.chart.version) == (facts.name, facts.version)
        and role.chart.sha256
    }
    if pins and digest not in pins:
        raise Invalid(
            f"chart {facts.name} {facts.version} must have digest {' or '.join(sorted(pins))}, "
            f"and this archive has {digest}: get the published archive"
        )


async def delete(hub: HubContext, principal: Principal, sha256: str) -> None:
    """Forget an archive; agents that hold it keep it."""
    authorize(principal, Permission.MANAGE_CHARTS, Resource(ResourceType.CHART, sha256))
    async with hub.database.begin() as db:
        chart = await charts.get(db, sha256)
        await charts.delete(db, sha256)
        await record(
            hub,
            db,
            "chart.deleted",
            f"{principal.name} deleted chart {chart.name} {chart.version}",
            actor=principal,
            facts={"sha256": sha256},
        )
        site_ids = await _replan_all(hub, db)
    notify_sites(hub, site_ids)


async def list_page(
    hub: HubContext, principal: Principal, *, cursor: str | None, limit: int
) -> Page[Chart]:
    """Return charts by name and version."""
    authorize(principal, Permission.READ, Resource(ResourceType.CHART))
    async with hub.database.read() as db:
        return await charts.list_page(db, cursor=cursor, limit=limit)


async def chunks(
    hub: HubContext, sha256: str, offset: int
) -> AsyncIterator[tuple[int, bytes, int]]:
    """Yield (offset, data, total) of an archive from ``offset`` on, for FetchBlob."""
    async with hub.database.read() as db:
        chart = await charts.get(db, sha256)
    if offset > chart.size_bytes:
        raise NotFound(f"chart {sha256} has {chart.size_bytes} bytes, none at {offset}")
    position = offset
    while position < chart.size_bytes:
        async with hub.database.read() as db:
            data = await charts.read(db, sha256, position, limits.BLOB_CHUNK_BYTES)
        yield position, data, chart.size_bytes
        position += len(data)
