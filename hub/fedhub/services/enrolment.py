"""Enrolment: a one-time token and a CSR become an agent's first certificate."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession

from fedca.authority import IssuedCertificate, IssueRequest, Subject
from fedca.csr import parse_csr
from fedca.names import ProfileName
from fedca.profiles import PROFILES
from fedca.tokens import TokenGrant
from fedcore.errors import Conflict, Denied, Unauthenticated
from fedhub.domain.models import Site, SiteCertificate
from fedhub.domain.phases import SiteState
from fedhub.fleet.admission import check_identifier
from fedhub.fleet.ingest import clean_text
from fedhub.services.context import HubContext
from fedhub.services.events import record
from fedhub.store import certificates, sites


@dataclass(frozen=True, slots=True)
class Enrolled:
    """What the new agent gets."""

    site: Site
    agent_id: str
    certificate: IssuedCertificate


async def enrol(
    hub: HubContext,
    *,
    token: str,
    csr_pem: bytes,
    cluster_uid: str,
    instance_id: str,
    agent_version: str,
) -> Enrolled:
    """Redeem ``token`` for a certificate of the CSR's key.

    The same token with the same key gets the same agent again (a lost answer is harmless);
    with another key it is refused and an event is raised.
    """
    check_identifier("cluster_uid", cluster_uid)
    check_identifier("instance_id", instance_id)
    csr = parse_csr(csr_pem, allowed=PROFILES[ProfileName.AGENT].keys)
    try:
        grant = await hub.join_tokens.redeem(token, spki_sha256=csr.spki_sha256)
    except Denied as error:
        await _raise_alarm(hub, error)
        raise Unauthenticated("the join token is unknown, used or expired") from error
    site = await _accept(hub, grant, cluster_uid, instance_id, agent_version)
    certificate = await hub.authority.issue(
        IssueRequest(
            profile=ProfileName.AGENT,
            subject=Subject(site_id=site.id, site_name=site.name, agent_id=grant.agent_id),
            csr_pem=csr_pem,
            requested_by=f"join-token:{grant.token_id}",
            is_retry=grant.is_retry,
        )
    )
    async with hub.database.begin() as db:
        await remember_agent_certificate(hub, db, site.id, certificate)
        await sites.update(db, site.id, certificate_serial=certificate.serial)
        if not grant.is_retry:
            await record(
                hub,
                db,
                "site.enrolled",
                f"the agent of site {site.name} joined",
                site_id=site.id,
                facts={"serial": certificate.serial, "cluster_uid": cluster_uid},
            )
        site = await sites.get(db, site.id)
    return Enrolled(site=site, agent_id=grant.agent_id, certificate=certificate)


async def _accept(
    hub: HubContext, grant: TokenGrant, cluster_uid: str, instance_id: str, agent_version: str
) -> Site:
    async with hub.database.begin() as db:
        site = await sites.get(db, grant.site_id)
        if site.state is SiteState.REVOKED:
            raise Conflict(f"site {site.name} is revoked; ask for a new invitation")
        return await sites.update(
            db,
            site.id,
            agent_id=grant.agent_id,
            cluster_uid=cluster_uid,
            instance_id=instance_id,
            agent_version=clean_text(agent_version)[:100],
        )


async def _raise_alarm(hub: HubContext, error: Denied) -> None:
    site_id = error.facts.get("site_id")
    async with hub.database.begin() as db:
        await record(
            hub,
            db,
            "site.token_misused",
            "a join token that was used already came with another key: it may have been stolen",
            severity="error",
            site_id=site_id if isinstance(site_id, str) else None,
        )


async def remember_agent_certificate(
    hub: HubContext, db: AsyncSession, site_id: str, certificate: IssuedCertificate
) -> None:
    """List an agent's certificate; a repeated answer is listed once."""
    await certificates.add(
        db,
        SiteCertificate(
            serial=certificate.serial,
            profile=certificate.profile,
            site_id=site_id,
            resource_id=None,
            secret_name=None,
            dns_names=certificate.dns_names,
            not_before=certificate.not_before,
            not_after=certificate.not_after,
            issued_at=hub.clock.now(),
        ),
    )
