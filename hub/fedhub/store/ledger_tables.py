"""The authority's tables. Column names equal the fields of ``fedca.records``."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Index, text
from sqlalchemy.orm import Mapped, mapped_column

from fedca.records import AuthorityState, CaPurpose, IssuanceState, RevocationReason
from fedhub.store.tables import Base
from fedsql.columns import EnumText

_ACTIVE = text("state = 'active'")
_ISSUED = text("state = 'issued'")


class AuthorityTable(Base):
    """``AuthorityRecord``; the index lets one be active per purpose and scope."""

    __tablename__ = "ca_authorities"
    __table_args__ = (
        Index(
            "uq_ca_authorities_active",
            "purpose",
            "scope",
            unique=True,
            sqlite_where=_ACTIVE,
            postgresql_where=_ACTIVE,
        ),
    )
    authority_id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    purpose: Mapped[CaPurpose] = mapped_column(EnumText(CaPurpose))
    scope: Mapped[str]
    state: Mapped[AuthorityState] = mapped_column(EnumText(AuthorityState))
    certificate_der: Mapped[bytes]
    sealed_key: Mapped[bytes]
    created_at: Mapped[datetime]
    not_after: Mapped[datetime]


class KeyTable(Base):
    """Which subject a public key belongs to, for ever. Its row is the lock of the key."""

    __tablename__ = "ca_keys"
    spki_sha256: Mapped[str] = mapped_column(primary_key=True)
    subject: Mapped[str]


class IssuanceTable(Base):
    """``IssuanceRecord``; the index lets a key have one certificate."""

    __tablename__ = "ca_issuances"
    __table_args__ = (
        Index(
            "uq_ca_issuances_issued_key",
            "spki_sha256",
            unique=True,
            sqlite_where=_ISSUED,
            postgresql_where=_ISSUED,
        ),
        Index(None, "revoked_at", "serial"),
    )
    serial: Mapped[str] = mapped_column(primary_key=True)
    profile: Mapped[str]
    issuer_id: Mapped[str]
    subject: Mapped[str]
    spki_sha256: Mapped[str]
    dns_names: Mapped[tuple[str, ...]]
    requested_by: Mapped[str]
    created_at: Mapped[datetime]
    not_before: Mapped[datetime]
    not_after: Mapped[datetime]
    state: Mapped[IssuanceState] = mapped_column(EnumText(IssuanceState))
    certificate_der: Mapped[bytes | None]
    failure: Mapped[str | None]
    revoked_at: Mapped[datetime | None]
    revocation_reason: Mapped[RevocationReason | None] = mapped_column(EnumText(RevocationReason))


class CrlNumberTable(Base):
    """The last number of each signer's revocation list."""

    __tablename__ = "ca_crl_numbers"
    issuer_id: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int]


class JoinTokenTable(Base):
    """``TokenRecord``."""

    __tablename__ = "join_tokens"
    token_id: Mapped[str] = mapped_column(primary_key=True)
    token_sha256: Mapped[str] = mapped_column(unique=True)
    site_id: Mapped[str] = mapped_column(index=True)
    created_by: Mapped[str]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    redeemed_at: Mapped[datetime | None]
    spki_sha256: Mapped[str | None]
    agent_id: Mapped[str | None]
    voided_at: Mapped[datetime | None]
