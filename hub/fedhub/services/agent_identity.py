"""Signs that an agent's identity was copied: raised as alerts, and refused."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from fedhub.domain.models import Site
from fedhub.services.context import HubContext
from fedhub.services.events import record
from fedhub.store import certificates
from fedproto.agent.v1 import link_pb2


async def is_superseded(hub: HubContext, db: AsyncSession, site: Site, serial: str) -> bool:
    """Return whether a certificate is older than one that the site's agent has used for a while.

    A newer certificate that was issued but never used (its answer got lost) supersedes nothing.
    """
    if site.certificate_serial in {None, serial}:
        return False
    newest = await certificates.find(db, site.certificate_serial or "")
    presented = await certificates.find(db, serial)
    if newest is None or presented is None or newest.issued_at <= presented.issued_at:
        return False
    grace = timedelta(seconds=hub.timing.superseded_grace_s)
    return hub.clock.now() - newest.issued_at > grace


async def report_superseded(hub: HubContext, site: Site, serial: str) -> None:
    """Raise an alert: an old key of an agent was used after its newer one."""
    if not hub.alerts.allow("superseded", site.id, serial):
        return
    async with hub.database.begin() as db:
        await record(
            hub,
            db,
            "site.superseded_key",
            f"an old certificate of site {site.name} was used: its key may have been copied",
            severity="error",
            site_id=site.id,
            facts={"serial": serial, "newest_serial": site.certificate_serial or ""},
        )


async def report_duplicate(hub: HubContext, site: Site, hello: link_pb2.Hello) -> None:
    """Raise an alert: an agent in another cluster has the site's identity."""
    if not hub.alerts.allow("duplicate", site.id, hello.cluster_uid, hello.instance_id):
        return
    async with hub.database.begin() as db:
        await record(
            hub,
            db,
            "site.duplicate_identity",
            f"a second agent with the identity of site {site.name} was refused",
            severity="error",
            site_id=site.id,
            facts={
                "cluster_uid": hello.cluster_uid,
                "instance_id": hello.instance_id,
                "expected_cluster_uid": site.cluster_uid or "",
            },
        )
