"""The authority as the hub sees it: trust, issue, revoke, lists."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Self

import structlog
from cryptography.hazmat.primitives.serialization import Encoding

from fedca.crl import CRL_LIFE, make_crl_pem
from fedca.hierarchy import pem_of
from fedca.identity import AgentIdentity, peer_identity
from fedca.issuers import Issuers
from fedca.issuing import Issuance, IssuedCertificate, IssueRequest
from fedca.ledger import Ledger
from fedca.names import Subject
from fedca.records import AuthorityRecord, CaPurpose, RevocationReason
from fedca.sealing import Sealer
from fedca.settings import AuthoritySettings
from fedcore.clock import Clock
from fedcore.errors import Internal

__all__ = [
    "AgentIdentity",
    "Authority",
    "AuthoritySettings",
    "IssueRequest",
    "IssuedCertificate",
    "RevocationReason",
    "Subject",
    "TrustRoots",
    "peer_identity",
]

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class TrustRoots:
    """What a peer is verified against."""

    version: int
    """Rises with each change of the set."""
    roots_pem: bytes


class Authority:
    """The certificate authority of one hub; any number of replicas may share one ledger.

    It authorises nobody: its caller has decided that the subject may have the certificate. It holds
    no federation's or site's private key and has no call that makes one.
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        issuers: Issuers,
        issuance: Issuance,
        clock: Clock,
        settings: AuthoritySettings,
    ) -> None:
        self.settings = settings
        self._ledger = ledger
        self._issuers = issuers
        self._issuance = issuance
        self._clock = clock

    @classmethod
    async def open(
        cls, *, ledger: Ledger, sealer: Sealer, clock: Clock, settings: AuthoritySettings
    ) -> Self:
        """Open the authority; make the root and the Infra and Agents authorities on first use.

        Idempotent, also when two processes do it at once. Raises ``Internal`` if the sealer is not
        the one that sealed the ledger's keys.
        """
        issuers = Issuers(ledger=ledger, sealer=sealer, clock=clock, settings=settings)
        issuance = Issuance(ledger=ledger, issuers=issuers, clock=clock, settings=settings)
        authority = cls(
            ledger=ledger, issuers=issuers, issuance=issuance, clock=clock, settings=settings
        )
        await authority.refresh()
        return authority

    async def refresh(self) -> None:
        """Replace what is due and read again what other replicas have made.

        Call it every hour or so; afterwards ``agents_anchor_pem`` may differ, and the agent port
        must take it up.
        """
        await self._issuers.root()
        await self._issuers.issuing(CaPurpose.INFRA)
        await self._issuers.issuing(CaPurpose.AGENTS)
        await self._issuers.reload()

    def trust_bundle(self) -> TrustRoots:
        """Return the roots that sites trust."""
        made = sum(1 for row in self._issuers.records() if row.purpose is CaPurpose.ROOT)
        return TrustRoots(made, pem_of(*self._issuers.certificates(CaPurpose.ROOT)))

    def agents_anchor_pem(self) -> bytes:
        """Return the Agents authorities alone: the only client trust anchor of the agent port.

        With the root as the anchor, any certificate of the PKI would pass for an agent's.
        """
        return pem_of(*self._issuers.certificates(CaPurpose.AGENTS))

    def root_fingerprint(self) -> str:
        """Return ``sha256:<hex>`` of the newest root's DER: what a join pins."""
        roots = self._issuers.certificates(CaPurpose.ROOT)
        if not roots:
            raise Internal("the root certificate has expired")
        der = roots[-1].public_bytes(Encoding.DER)
        return f"sha256:{hashlib.sha256(der).hexdigest()}"

    def authorities(self) -> tuple[AuthorityRecord, ...]:
        """List the roots and issuing authorities as last read; their names name their lists."""
        return self._issuers.records()

    async def issue(self, request: IssueRequest) -> IssuedCertificate:
        """Issue a certificate whose every name is computed; the CSR gives its public key only.

        A renewal is an issuance with a new key. A key has one certificate in its life: asked again
        by the same subject before it is due for renewal, a service gets that certificate again, and
        so does an agent when the caller says ``is_retry``. Raises ``Invalid`` for a wrong subject,
        profile or CSR, ``Denied`` for a key that was used (``reason``: ``key_reused``,
        ``key_of_another``), ``Internal`` if what was signed fails its check; its intent is closed
        then.
        """
        return await self._issuance.issue(request)

    async def revoke(self, serial: str, reason: RevocationReason) -> None:
        """Revoke a certificate for good; a second time has no effect. ``NotFound`` if unknown."""
        is_new = await self._ledger.revoke(_canonical(serial), reason, self._clock.now())
        if is_new:
            log.info("certificate.revoked", serial=serial, reason=reason)

    async def is_revoked(self, serial: str) -> bool:
        """Tell whether a certificate must be refused: revoked, or never issued by this ledger."""
        row = await self._ledger.issuance(_canonical(serial))
        return row is None or row.certificate_der is None or row.revoked_at is not None

    async def revoked_serials(self) -> frozenset[str]:
        """List the serials that are revoked and not expired; the hub loads them at start."""
        lines = await self._ledger.revocations(expiring_after=self._clock.now())
        return frozenset(line.serial for line in lines)

    async def crl_pem(self, issuer_name: str) -> bytes:
        """Sign a new revocation list of an authority, valid for 24 hours, its number rising.

        Expired certificates stay on it for one more day. ``NotFound`` for an unknown name. Each
        call signs: cache it.
        """
        issuer = await self._issuers.by_name(issuer_name)
        now = self._clock.now()
        lines = await self._ledger.revocations(
            expiring_after=now - CRL_LIFE, issuer_id=issuer.record.authority_id
        )
        number = await self._ledger.next_crl_number(issuer.record.authority_id)
        return make_crl_pem(issuer, lines, number=number, now=now)


def _canonical(serial: str) -> str:
    return serial.lower().lstrip("0")
