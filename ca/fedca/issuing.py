"""One issuance from request to answer: rules, intent, signature, check, record."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import structlog
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding

from fedca.csr import RequestedKey, parse_csr
from fedca.hierarchy import pem_of
from fedca.issuers import Issuer, Issuers
from fedca.leaf import LeafPlan, check_leaf, plan_leaf, sign_leaf
from fedca.ledger import Ledger
from fedca.names import CertificateNames, Subject, names_of, owner_of
from fedca.profiles import Profile, profile_of
from fedca.records import CaPurpose, IssuanceRecord, KeyVerdict
from fedca.renewal import renew_at
from fedca.settings import AuthoritySettings
from fedcore.clock import Clock
from fedcore.errors import Denied, FedError, Internal

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class IssueRequest:
    """Who wants what certificate; the caller has authorised it.

    ``is_retry``: the caller knows that this repeats a request whose answer may be lost (a join
    token redeemed again); the same key then gets the same certificate again.
    """

    profile: str
    subject: Subject
    csr_pem: bytes
    requested_by: str
    is_retry: bool = False


@dataclass(frozen=True, slots=True)
class IssuedCertificate:
    """A certificate and what its holder and its records need to know of it."""

    serial: str
    """Lower-case hexadecimal."""
    profile: str
    chain_pem: bytes
    """Leaf first, then its issuer; no root."""
    not_before: datetime
    not_after: datetime
    dns_names: tuple[str, ...]
    spki_sha256: str


@dataclass(frozen=True, slots=True)
class _Case:
    request: IssueRequest
    profile: Profile
    names: CertificateNames
    owner: str
    key: RequestedKey


class Issuance:
    """Issues leaf certificates; what it records and in which order is the ledger's contract."""

    def __init__(
        self, *, ledger: Ledger, issuers: Issuers, clock: Clock, settings: AuthoritySettings
    ) -> None:
        self._ledger = ledger
        self._issuers = issuers
        self._clock = clock
        self._settings = settings

    async def issue(self, request: IssueRequest) -> IssuedCertificate:
        """Issue a certificate, or repeat the one that this key has; see ``Authority.issue``."""
        case = self._judge(request)
        issuer = await self._issuer_for(case)
        plan = plan_leaf(
            case.profile,
            case.names,
            case.key.public_key,
            issuer=issuer.certificate,
            now=self._clock.now(),
        )
        record = self._intent(case, plan, issuer)
        verdict = await self._ledger.begin_issuance(record)
        if verdict is not KeyVerdict.ACCEPTED:
            return await self._repeat(case, verdict)
        leaf = await self._sign(record.serial, plan, issuer)
        if not await self._ledger.complete_issuance(record.serial, leaf.public_bytes(Encoding.DER)):
            return await self._repeat(case, KeyVerdict.ALREADY_CERTIFIED)
        log.info(
            "certificate.issued",
            serial=record.serial,
            profile=record.profile,
            subject=record.subject,
            issuer=issuer.record.name,
            requested_by=record.requested_by,
            not_after=record.not_after.isoformat(),
        )
        return _answer(record, leaf, issuer.certificate)

    def _judge(self, request: IssueRequest) -> _Case:
        profile = profile_of(request.profile)
        names = names_of(profile.name, request.subject, self._settings)
        owner = owner_of(profile.name, request.subject)
        key = parse_csr(request.csr_pem, allowed=profile.keys)
        return _Case(request, profile, names, owner, key)

    async def _issuer_for(self, case: _Case) -> Issuer:
        purpose, subject = case.profile.purpose, case.request.subject
        if purpose is not CaPurpose.SERVICES:
            return await self._issuers.issuing(purpose)
        return await self._issuers.issuing(
            purpose, scope=subject.federation_id or "", domain=subject.domain
        )

    def _intent(self, case: _Case, plan: LeafPlan, issuer: Issuer) -> IssuanceRecord:
        return IssuanceRecord(
            serial=serial_text(plan.serial),
            profile=case.profile.name.value,
            issuer_id=issuer.record.authority_id,
            subject=case.owner,
            spki_sha256=case.key.spki_sha256,
            dns_names=case.names.dns_names,
            requested_by=case.request.requested_by,
            created_at=self._clock.now(),
            not_before=plan.not_before,
            not_after=plan.not_after,
        )

    async def _sign(self, serial: str, plan: LeafPlan, issuer: Issuer) -> x509.Certificate:
        try:
            root = await self._issuers.root()
            leaf = sign_leaf(plan, issuer=issuer.certificate, key=issuer.key)
            check_leaf(leaf, plan, issuer=issuer.certificate, root=root.certificate)
        except (FedError, ValueError, TypeError, UnsupportedAlgorithm, InvalidSignature) as error:
            log.exception("certificate.failed", serial=serial, profile=plan.profile.name)
            await self._ledger.fail_issuance(serial, "self_check")
            raise Internal("the certificate could not be made", serial=serial) from error
        return leaf

    async def _repeat(self, case: _Case, verdict: KeyVerdict) -> IssuedCertificate:
        """Answer for a key that is known already: the same certificate again, or a refusal."""
        if verdict is KeyVerdict.OWNED_BY_ANOTHER:
            log.warning("certificate.key_reused", subject=case.owner, key=case.key.spki_sha256)
            raise Denied(
                "this key belongs to another subject: make a new one", reason="key_of_another"
            )
        row = await self._ledger.issued_for_key(case.key.spki_sha256)
        if row is None or row.certificate_der is None or not self._may_repeat(case, row):
            raise Denied("this key has a certificate: make a new one", reason="key_reused")
        leaf = x509.load_der_x509_certificate(row.certificate_der)
        return _answer(row, leaf, await self._issuers.certificate_of(row.issuer_id))

    def _may_repeat(self, case: _Case, row: IssuanceRecord) -> bool:
        is_asked = case.request.is_retry or case.profile.may_repeat
        is_same = row.subject == case.owner and row.dns_names == case.names.dns_names
        is_due = self._clock.now() >= renew_at(row.not_before, row.not_after, spread=-1)
        return is_asked and is_same and not is_due and row.revoked_at is None


def serial_text(serial: int) -> str:
    """Write a serial as everything of ours names it: lower-case hexadecimal."""
    return format(serial, "x")


def _answer(
    row: IssuanceRecord, leaf: x509.Certificate, issuer: x509.Certificate
) -> IssuedCertificate:
    return IssuedCertificate(
        serial=row.serial,
        profile=row.profile,
        chain_pem=pem_of(leaf, issuer),
        not_before=row.not_before,
        not_after=row.not_after,
        dns_names=row.dns_names,
        spki_sha256=row.spki_sha256,
    )
