"""Rows of the ledger: authorities, issuances, revocations, join tokens, and their words.

Times are UTC with their zone. Hashes are lower-case hexadecimal SHA-256. Serials are lower-case
hexadecimal without leading zeros.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class CaPurpose(StrEnum):
    """What an authority signs for."""

    ROOT = "root"
    INFRA = "infra"
    AGENTS = "agents"
    SERVICES = "services"


class AuthorityState(StrEnum):
    """Whether an authority still issues; a retired one only signs revocation lists."""

    ACTIVE = "active"
    RETIRED = "retired"


class IssuanceState(StrEnum):
    """How far an issuance came: ``PENDING`` is the intent, stored before anything is signed."""

    PENDING = "pending"
    ISSUED = "issued"
    FAILED = "failed"


class RevocationReason(StrEnum):
    """Why a certificate lost its force (RFC 5280 §5.3.1, the ones that apply here)."""

    UNSPECIFIED = "unspecified"
    KEY_COMPROMISE = "key_compromise"
    AFFILIATION_CHANGED = "affiliation_changed"
    SUPERSEDED = "superseded"
    CESSATION_OF_OPERATION = "cessation_of_operation"
    PRIVILEGE_WITHDRAWN = "privilege_withdrawn"


class KeyVerdict(StrEnum):
    """What the ledger says of the public key of a new issuance."""

    ACCEPTED = "accepted"
    OWNED_BY_ANOTHER = "owned_by_another"
    ALREADY_CERTIFIED = "already_certified"


class RedeemOutcome(StrEnum):
    """What became of an attempt to redeem a join token."""

    GRANTED = "granted"
    REPEATED = "repeated"
    KEY_MISMATCH = "key_mismatch"
    EXPIRED = "expired"
    VOIDED = "voided"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class AuthorityRecord:
    """One root or issuing CA; its private key is sealed."""

    authority_id: str
    name: str
    """Unique for ever, e.g. ``infra-3f2a90c1``; names its revocation list."""
    purpose: CaPurpose
    scope: str
    """The federation's id for ``SERVICES``, else empty."""
    state: AuthorityState
    certificate_der: bytes
    sealed_key: bytes
    created_at: datetime
    not_after: datetime


@dataclass(frozen=True, slots=True)
class IssuanceRecord:
    """One leaf certificate, from intent to revocation."""

    serial: str
    profile: str
    issuer_id: str
    """``AuthorityRecord.authority_id`` of the signer."""
    subject: str
    """Canonical text of whom it is for, e.g. ``agent:<site_id>/<agent_id>``; owns the key."""
    spki_sha256: str
    dns_names: tuple[str, ...]
    requested_by: str
    created_at: datetime
    not_before: datetime
    not_after: datetime
    state: IssuanceState = IssuanceState.PENDING
    certificate_der: bytes | None = None
    failure: str | None = None
    revoked_at: datetime | None = None
    revocation_reason: RevocationReason | None = None


@dataclass(frozen=True, slots=True)
class Revocation:
    """One line of a revocation list."""

    serial: str
    issuer_id: str
    reason: RevocationReason
    revoked_at: datetime
    not_after: datetime
    """Of the certificate: afterwards the line may be dropped."""


@dataclass(frozen=True, slots=True)
class TokenRecord:
    """One join token; the token itself is never stored."""

    token_id: str
    token_sha256: str
    site_id: str
    created_by: str
    created_at: datetime
    expires_at: datetime
    redeemed_at: datetime | None = None
    spki_sha256: str | None = None
    """Key that redeemed it; the only one that may repeat."""
    agent_id: str | None = None
    """Fixed by the first redemption."""
    voided_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Redemption:
    """The outcome and the token as it now stands; no record for an unknown token."""

    outcome: RedeemOutcome
    record: TokenRecord | None
