"""Certificates: issue what a document lists, renew agents, list, revoke."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from fedca.authority import IssuedCertificate, IssueRequest, Subject
from fedca.records import RevocationReason
from fedcore import limits
from fedcore.errors import Denied, ErrorCode, FedError
from fedhub.domain.access import (
    Permission,
    Principal,
    ResourceType,
    authorize,
    not_found,
    of_certificate,
    visible,
)
from fedhub.domain.models import Participant, ResourceKind, Site, SiteCertificate
from fedhub.services.agent_identity import is_superseded, report_superseded
from fedhub.services.context import HubContext
from fedhub.services.enrolment import remember_agent_certificate
from fedhub.services.events import record
from fedhub.services.name_index import names_of, participant_ids_for_name
from fedhub.services.sites import require as require_site
from fedhub.store import certificates, documents, federations, participants, sites
from fedproto.agent.v1 import document_pb2
from fedsql.cursors import Page


async def issue_for_resource(
    hub: HubContext, site_id: str, *, resource_id: str, secret_name: str, csr_pem: bytes
) -> IssuedCertificate:
    """Issue the certificate that a participant's document lists under ``secret_name``.

    The document alone decides profile and names; of the CSR only the key counts. Denied for a
    resource of another site, with the same words as for one that does not exist.
    """
    async with hub.database.read() as db:
        row, spec = await _listed(db, site_id, resource_id, secret_name)
        federation = await federations.get(db, row.federation_id)
        site = await sites.get(db, site_id)
        await _check_quota(hub, db, site)
    issued = await hub.authority.issue(
        IssueRequest(
            profile=spec.profile,
            subject=Subject(
                site_id=site_id,
                site_name=site.name,
                federation_id=federation.id,
                domain=federation.domain,
                party_id=row.party_id,
            ),
            csr_pem=csr_pem,
            requested_by=f"site:{site.name}",
        )
    )
    async with hub.database.begin() as db:
        await _remember(hub, db, site, row, secret_name=secret_name, issued=issued)
    return issued


async def _listed(
    db: AsyncSession, site_id: str, resource_id: str, secret_name: str
) -> tuple[Participant, document_pb2.CertificateSpec]:
    refusal = Denied("no document of this site lists such a certificate")
    document = await documents.get(db, resource_id)
    row = await participants.find(db, resource_id)
    if document is None or row is None or document.site_id != site_id or document.absent:
        raise refusal
    if document.kind is not ResourceKind.PARTICIPANT:
        raise refusal
    body = document_pb2.ParticipantSpec.FromString(document.spec_bytes)
    for spec in body.certificates:
        if spec.secret_name == secret_name:
            return row, spec
    raise refusal


async def _check_quota(hub: HubContext, db: AsyncSession, site: Site) -> None:
    """Raise TOO_MANY for a site that got its day's certificates; calls at once may pass by few."""
    since = hub.clock.now() - timedelta(days=1)
    if await certificates.count_since(db, site.id, since) >= limits.MAX_SITE_CERTIFICATES_PER_DAY:
        raise FedError(
            f"site {site.name} got {limits.MAX_SITE_CERTIFICATES_PER_DAY} certificates within a "
            "day; see why its agent asks for so many, and try again later",
            code=ErrorCode.TOO_MANY,
        )


async def _remember(
    hub: HubContext,
    db: AsyncSession,
    site: Site,
    row: Participant,
    *,
    secret_name: str,
    issued: IssuedCertificate,
) -> None:
    await certificates.add(
        db,
        SiteCertificate(
            serial=issued.serial,
            profile=issued.profile,
            site_id=site.id,
            resource_id=row.id,
            secret_name=secret_name,
            dns_names=issued.dns_names,
            not_before=issued.not_before,
            not_after=issued.not_after,
            issued_at=hub.clock.now(),
        ),
    )
    await certificates.mark_superseded(db, row.id, secret_name, except_serial=issued.serial)
    await record(
        hub,
        db,
        "certificate.issued",
        f"{issued.profile} certificate {issued.serial} for {row.name} ({secret_name})",
        site_id=site.id,
        federation_id=row.federation_id,
        resource_id=row.id,
        facts={"serial": issued.serial, "not_after": issued.not_after.isoformat()},
    )


async def renew_agent(
    hub: HubContext, *, site_id: str, agent_id: str, old_serial: str, csr_pem: bytes
) -> IssuedCertificate:
    """Issue an agent's next certificate, with a new key; every policy is checked again."""
    async with hub.database.read() as db:
        site = await sites.get(db, site_id)
        is_old = await is_superseded(hub, db, site, old_serial)
    if site.agent_id != agent_id:
        raise Denied("this agent is no longer the site's agent; join again")
    if is_old:
        await report_superseded(hub, site, old_serial)
        raise Denied("a newer certificate of this agent is in use; join again")
    async with hub.database.read() as db:
        await _check_quota(hub, db, site)
    issued = await hub.authority.issue(
        IssueRequest(
            profile="agent",
            subject=Subject(site_id=site_id, site_name=site.name, agent_id=agent_id),
            csr_pem=csr_pem,
            requested_by=f"agent:{agent_id}",
        )
    )
    hub.instruments.renewals.labels("agent").inc()
    async with hub.database.begin() as db:
        await remember_agent_certificate(hub, db, site_id, issued)
        await record(
            hub,
            db,
            "certificate.renewed",
            f"the agent of site {site.name} renewed its certificate",
            site_id=site_id,
            facts={"serial": issued.serial, "old_serial": old_serial},
        )
    return issued


async def revoke(hub: HubContext, principal: Principal, serial: str) -> SiteCertificate:
    """Revoke one certificate; that of an agent ends its stream at once."""
    async with hub.database.read() as db:
        certificate = await certificates.find(db, serial)
    if certificate is None:
        raise not_found(ResourceType.CERTIFICATE, serial)
    authorize(principal, Permission.MANAGE_CERTIFICATES, of_certificate(certificate))
    # The ledger commits by itself and comes first: what is listed as revoked must be revoked.
    await hub.authority.revoke(serial, RevocationReason.UNSPECIFIED)
    async with hub.database.begin() as db:
        await certificates.mark_revoked(db, serial, hub.clock.now())
        await record(
            hub,
            db,
            "certificate.revoked",
            f"{principal.name} revoked {certificate.profile} certificate {serial}",
            severity="warning",
            actor=principal,
            site_id=certificate.site_id,
            resource_id=certificate.resource_id,
        )
        revoked = await certificates.find(db, serial)
    hub.registry.terminate_serial(serial)
    return revoked if revoked is not None else certificate


async def revoke_of_gone(hub: HubContext, site_id: str) -> None:
    """Revoke the certificates of a site's participants that are gone; call after the commit.

    Those that an earlier call missed, because the process died, are revoked with them. The ledger
    commits by itself and comes first: what is listed as revoked must be revoked.
    """
    async with hub.database.read() as db:
        orphans = await certificates.of_gone(db, site_id, at=hub.clock.now())
        names = await names_of(db, {orphan.resource_id for orphan in orphans if orphan.resource_id})
    for orphan in orphans:
        await hub.authority.revoke(orphan.serial, RevocationReason.CESSATION_OF_OPERATION)
    if not orphans:
        return
    async with hub.database.begin() as db:
        for orphan in orphans:
            await certificates.mark_revoked(db, orphan.serial, hub.clock.now())
            name = names.get(orphan.resource_id or "", orphan.resource_id)
            await record(
                hub,
                db,
                "certificate.revoked",
                f"{orphan.profile} certificate {orphan.serial} is revoked: {name} is gone",
                site_id=site_id,
                resource_id=orphan.resource_id,
                facts={
                    "serial": orphan.serial,
                    "reason": RevocationReason.CESSATION_OF_OPERATION.value,
                },
            )


async def list_page(
    hub: HubContext,
    principal: Principal,
    *,
    site: str | None,
    participant: str | None,
    expiring_before: datetime | None,
    cursor: str | None,
    limit: int,
) -> tuple[Page[SiteCertificate], dict[str, str]]:
    """Return certificates, newest first, and the names of the sites and participants in them."""
    visibility = visible(principal, Permission.READ)
    async with hub.database.read() as db:
        page = await certificates.list_page(
            db,
            visibility,
            site_id=(await require_site(db, site)).id if site is not None else None,
            resource_ids=(
                await participant_ids_for_name(db, participant) if participant is not None else None
            ),
            expiring_before=expiring_before,
            cursor=cursor,
            limit=limit,
        )
        names = await sites.names(db)
        names |= await names_of(db, {c.resource_id for c in page.items if c.resource_id})
    return page, names
