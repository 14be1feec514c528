"""Serve /api/v1/certificates and /api/v1/ca."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final

from pydantic import AfterValidator, AwareDatetime, BaseModel, Field

from fedhub.api.request import NameFilter, PageQuery, hub_of
from fedhub.domain.access import Permission, Principal, visible
from fedhub.domain.models import SiteCertificate
from fedhub.services import certificates
from fedweb.routes import Answer, Call, Route

_FIRST_YEAR: Final = 1970
_LAST_YEAR: Final = 2199


def _check_year(moment: datetime) -> datetime:
    if not _FIRST_YEAR <= moment.year <= _LAST_YEAR:
        raise ValueError(f"write a time of the years {_FIRST_YEAR} to {_LAST_YEAR}")
    return moment


Moment = Annotated[AwareDatetime, AfterValidator(_check_year)]


class CertificateView(BaseModel):
    """A certificate that the CA issued for something at a site."""

    serial: str
    profile: str
    site: str | None
    resource: str | None
    secret_name: str | None
    dns_names: list[str]
    not_before: datetime
    not_after: datetime
    issued_at: datetime
    revoked_at: datetime | None
    superseded: bool


class CertificatePage(BaseModel):
    """A page of certificates."""

    items: list[CertificateView]
    next_cursor: str | None


class CertificateQuery(PageQuery):
    """Filters of the list of certificates."""

    site: NameFilter = Field(default=None, description="Only those of this site.")
    participant: NameFilter = Field(default=None, description="Only those of this participant.")
    expiring_before: Moment | None = Field(
        default=None, description="Only those that end before this time (RFC 3339)."
    )


class AuthorityView(BaseModel):
    """What a peer needs to trust the hub's CA."""

    fingerprint: str
    trust_version: int
    roots_pem: str


def view(certificate: SiteCertificate, names: dict[str, str]) -> CertificateView:
    """Build the public form of a certificate."""
    return CertificateView(
        serial=certificate.serial,
        profile=certificate.profile,
        site=names.get(certificate.site_id or "", certificate.site_id),
        resource=names.get(certificate.resource_id or "", certificate.resource_id),
        secret_name=certificate.secret_name,
        dns_names=list(certificate.dns_names),
        not_before=certificate.not_before,
        not_after=certificate.not_after,
        issued_at=certificate.issued_at,
        revoked_at=certificate.revoked_at,
        superseded=certificate.superseded,
    )


async def list_certificates(call: Call[Principal]) -> Answer:
    """Answer a page of certificates, newest first."""
    page, names = await certificates.list_page(
        hub_of(call),
        call.principal,
        site=call.query.site,
        participant=call.query.participant,
        expiring_before=call.query.expiring_before,
        cursor=call.query.cursor,
        limit=call.query.limit,
    )
    return Answer(
        CertificatePage(items=[view(c, names) for c in page.items], next_cursor=page.next_cursor)
    )


async def revoke_certificate(call: Call[Principal]) -> Answer:
    """Revoke one certificate."""
    revoked = await certificates.revoke(hub_of(call), call.principal, call.path("serial"))
    return Answer(view(revoked, {}))


async def get_authority(call: Call[Principal]) -> Answer:
    """Answer the roots and the fingerprint that agents pin."""
    visible(call.principal, Permission.READ)
    authority = hub_of(call).authority
    bundle = authority.trust_bundle()
    return Answer(
        AuthorityView(
            fingerprint=authority.root_fingerprint(),
            trust_version=bundle.version,
            roots_pem=bundle.roots_pem.decode(),
        )
    )


ROUTES = (
    Route(
        "GET",
        "/api/v1/certificates",
        list_certificates,
        "List certificates, newest first.",
        "certificates",
        CertificatePage,
        query=CertificateQuery,
    ),
    Route(
        "POST",
        "/api/v1/certificates/{serial}/revocation",
        revoke_certificate,
        "Revoke a certificate; an agent's stream is cut at once.",
        "certificates",
        CertificateView,
    ),
    Route(
        "GET",
        "/api/v1/ca",
        get_authority,
        "Get the CA's roots and fingerprint.",
        "certificates",
        AuthorityView,
    ),
)
