"""Sites: invite, list, revoke, delete."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from fedca.records import RevocationReason
from fedcore import limits
from fedcore.errors import Conflict, FieldError, Invalid
from fedcore.ids import is_name, new_id
from fedhub.domain.access import (
    Permission,
    Principal,
    Resource,
    ResourceType,
    authorize,
    not_found,
    of_site,
    visible,
)
from fedhub.domain.models import Site
from fedhub.domain.phases import SiteState
from fedhub.services.context import HubContext
from fedhub.services.events import record
from fedhub.store import certificates, documents, endpoints, participants, sites, statuses
from fedsql.cursors import Page


@dataclass(frozen=True, slots=True)
class Invitation:
    """All that a site's administrator needs to join; the token is shown this once."""

    site: Site
    token: str
    expires_at: datetime
    enrol_address: str
    ca_fingerprint: str


async def invite(
    hub: HubContext,
    principal: Principal,
    name: str,
    *,
    life_s: int = limits.JOIN_TOKEN_LIFE_S,
    labels: dict[str, str] | None = None,
) -> Invitation:
    """Make a site and a one-time join token, or a new token for a site that is to join again.

    A new token voids older ones. An enrolled site must be revoked before it may join again.
    """
    visible(principal, Permission.MANAGE_SITES)
    _check(name, life_s)
    async with hub.database.begin() as db:
        invited = await sites.by_name(db, name)
        resource = Resource(ResourceType.SITE, name) if invited is None else of_site(invited)
        # Not hidden: whoever may invite must not learn from the answer whether a name is taken.
        authorize(principal, Permission.MANAGE_SITES, resource, hide=False)
        site = await _invited_site(hub, db, name, invited, labels or {})
        await record(
            hub,
            db,
            "site.invited",
            f"{principal.name} invited site {name}",
            actor=principal,
            site_id=site.id,
        )
    await hub.join_tokens.void(site.id)
    token = await hub.join_tokens.create(site_id=site.id, created_by=principal.name, life_s=life_s)
    return Invitation(
        site=site,
        token=token.token,
        expires_at=token.expires_at,
        enrol_address=hub.addresses.enrol,
        ca_fingerprint=hub.authority.root_fingerprint(),
    )


def _check(name: str, life_s: int) -> None:
    errors = []
    if not is_name(name):
        errors.append(
            FieldError("name", f"{name!r} is no DNS label: lower-case letters, digits and '-'")
        )
    if not 1 <= life_s <= limits.JOIN_TOKEN_MAX_LIFE_S:
        errors.append(
            FieldError("life_s", f"a token may live 1 to {limits.JOIN_TOKEN_MAX_LIFE_S} s")
        )
    if errors:
        raise Invalid("the invitation cannot be made", errors=tuple(errors))


async def _invited_site(
    hub: HubContext, db: AsyncSession, name: str, site: Site | None, labels: dict[str, str]
) -> Site:
    now = hub.clock.now()
    if site is None:
        site = Site(
            id=new_id(),
            name=name,
            state=SiteState.INVITED,
            state_since=now,
            created_at=now,
            labels=labels,
        )
        await sites.add(db, site)
        return site
    if site.state is SiteState.REVOKED:
        await sites.set_state(db, site.id, SiteState.INVITED, now)
        return await sites.update(db, site.id, cluster_uid=None, instance_id=None)
    if site.state is not SiteState.INVITED:
        raise Conflict(
            f"site {name} has joined already (it is {site.state.value}); "
            f"`fedctl site revoke {name}` first if its agent must join again"
        )
    return site


async def revoke(hub: HubContext, principal: Principal, name: str) -> Site:
    """Revoke a site's agent: its certificates end, its stream is cut; what it runs goes on."""
    async with hub.database.read() as db:
        site = await require(db, name)
        authorize(principal, Permission.MANAGE_SITES, of_site(site))
        live = await certificates.of_agent(db, site.id)
    # The ledger commits by itself and comes first: what is listed as revoked must be revoked.
    for certificate in live:
        await hub.authority.revoke(certificate.serial, RevocationReason.KEY_COMPROMISE)
    async with hub.database.begin() as db:
        now = hub.clock.now()
        await sites.set_state(db, site.id, SiteState.REVOKED, now)
        for certificate in live:
            await certificates.mark_revoked(db, certificate.serial, now)
        await record(
            hub,
            db,
            "site.revoked",
            f"{principal.name} revoked site {name}",
            severity="warning",
            actor=principal,
            site_id=site.id,
        )
        site = await sites.get(db, site.id)
    await hub.join_tokens.void(site.id)
    if site.agent_id is not None:
        hub.registry.terminate(site.agent_id, "revoked")
    return site


async def delete(hub: HubContext, principal: Principal, name: str) -> None:
    """Forget a site that runs nothing; Conflict names what it still runs."""
    async with hub.database.begin() as db:
        site = await require(db, name)
        authorize(principal, Permission.MANAGE_SITES, of_site(site))
        rows = await participants.of_site(db, site.id)
        if rows:
            raise Conflict(
                f"site {name} still runs {', '.join(row.name for row in rows)}: "
                "remove them from their federations first"
            )
        if site.state not in {SiteState.INVITED, SiteState.REVOKED}:
            raise Conflict(f"`fedctl site revoke {name}` first: its agent may still connect")
        endpoint = await endpoints.by_site(db, site.id)
        if endpoint is not None:
            await documents.delete(db, endpoint.id)
            await statuses.delete(db, endpoint.id)
            await endpoints.delete(db, endpoint.id)
        await sites.delete(db, site.id)
        await record(
            hub,
            db,
            "site.deleted",
            f"{principal.name} deleted site {name}",
            actor=principal,
            site_id=site.id,
        )
    await hub.join_tokens.void(site.id)


async def require(db: AsyncSession, name: str) -> Site:
    """Return the site called ``name`` or raise NotFound."""
    site = await sites.by_name(db, name)
    if site is None:
        raise not_found(ResourceType.SITE, name)
    return site


async def get(hub: HubContext, principal: Principal, name: str) -> Site:
    """Return one site."""
    async with hub.database.read() as db:
        site = await require(db, name)
    authorize(principal, Permission.READ, of_site(site))
    return site


async def list_page(
    hub: HubContext,
    principal: Principal,
    *,
    state: SiteState | None,
    cursor: str | None,
    limit: int,
) -> Page[Site]:
    """Return sites by name."""
    visibility = visible(principal, Permission.READ)
    async with hub.database.read() as db:
        return await sites.list_page(db, visibility, cursor=cursor, limit=limit, state=state)
