"""The roots and issuing authorities that exist, made when they are needed and replaced in time.

The ledger decides: of two processes that make the same authority at once, one is stored and the
other process takes that one.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import structlog
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from fedca.hierarchy import (
    Constraints,
    IssuingPlan,
    make_issuing,
    make_root,
    may_go_on,
    wanted_constraints,
)
from fedca.keys import (
    KeyKind,
    PrivateKey,
    load_private_key,
    make_private_key,
    private_key_der,
    spki_der,
)
from fedca.ledger import Ledger
from fedca.records import AuthorityRecord, AuthorityState, CaPurpose
from fedca.sealing import Sealer
from fedca.settings import AuthoritySettings
from fedcore.clock import Clock
from fedcore.errors import Internal, NotFound, Unavailable
from fedcore.ids import new_id

log = structlog.get_logger(__name__)

KEY_PURPOSE: Final = "authority-key"
"""What the sealed keys of authorities are bound to, with the authority's id."""
_ATTEMPTS: Final = 3


@dataclass(frozen=True, slots=True)
class Issuer:
    """An authority that can sign."""

    record: AuthorityRecord
    certificate: x509.Certificate
    key: PrivateKey


@dataclass(frozen=True, slots=True)
class _NewAuthority:
    authority_id: str
    purpose: CaPurpose
    scope: str

    @property
    def name(self) -> str:
        # The random part of the id: unique, short, and it tells nothing.
        return f"{self.purpose}-{self.authority_id[-12:]}"


class Issuers:
    """Finds, makes and replaces authorities; keeps the last known list in memory."""

    def __init__(
        self, *, ledger: Ledger, sealer: Sealer, clock: Clock, settings: AuthoritySettings
    ) -> None:
        self._ledger = ledger
        self._sealer = sealer
        self._clock = clock
        self._settings = settings
        self._known: tuple[tuple[AuthorityRecord, x509.Certificate], ...] = ()
        self._opened: dict[str, Issuer] = {}

    async def reload(self) -> None:
        """Read the list from the ledger again."""
        rows = await self._ledger.authorities()
        self._known = tuple(
            (row, x509.load_der_x509_certificate(row.certificate_der)) for row in rows
        )

    def certificates(self, purpose: CaPurpose) -> list[x509.Certificate]:
        """List the unexpired certificates of a purpose, oldest first, retired ones included."""
        now = self._clock.now()
        return [
            certificate
            for row, certificate in self._known
            if row.purpose is purpose and row.not_after > now
        ]

    def records(self) -> tuple[AuthorityRecord, ...]:
        """List all authorities as last read, oldest first."""
        return tuple(row for row, _ in self._known)

    async def root(self) -> Issuer:
        """Return the root, made on first use."""
        active = await self._ledger.active_authority(CaPurpose.ROOT, "")
        if active is not None:
            return self._open(active)
        key = make_private_key(KeyKind.P384)
        blank = _NewAuthority(new_id(), CaPurpose.ROOT, "")
        certificate = make_root(
            key, name=blank.name, serial=x509.random_serial_number(), now=self._clock.now()
        )
        record = self._sealed(blank, certificate, key)
        return await self._install(record, replaces=None)

    async def issuing(
        self, purpose: CaPurpose, *, scope: str = "", domain: str | None = None
    ) -> Issuer:
        """Return the active issuing authority; make or replace it if it cannot go on.

        Replaced at half of its life, and when it does not permit what the settings or the
        federation's ``domain`` ask for.
        """
        wanted = wanted_constraints(purpose, self._settings, domain)
        for _ in range(_ATTEMPTS):
            active = await self._ledger.active_authority(purpose, scope)
            if active is not None:
                issuer = self._open(active)
                if may_go_on(issuer.certificate, wanted, self._clock.now()):
                    return issuer
            replaces = None if active is None else active.authority_id
            await self._make_issuing(purpose, scope, wanted, replaces=replaces)
        raise Unavailable("another hub keeps replacing the issuing authority", purpose=purpose)

    async def by_name(self, name: str) -> Issuer:
        """Return any authority, retired ones included; ``NotFound`` if there is none."""
        for row in await self._ledger.authorities():
            if row.name == name:
                return self._open(row)
        raise NotFound("there is no certificate authority of this name", name=name)

    async def certificate_of(self, authority_id: str) -> x509.Certificate:
        """Return an authority's certificate by the id that an issuance recorded."""
        for row in await self._ledger.authorities():
            if row.authority_id == authority_id:
                return x509.load_der_x509_certificate(row.certificate_der)
        raise Internal("the ledger has lost an authority", authority_id=authority_id)

    async def _make_issuing(
        self, purpose: CaPurpose, scope: str, wanted: Constraints, *, replaces: str | None
    ) -> None:
        root = await self.root()
        now = self._clock.now()
        if root.certificate.not_valid_after_utc - now < timedelta(days=1):
            raise Unavailable("the root certificate ends: a new root is needed")
        key = make_private_key(KeyKind.P256)
        blank = _NewAuthority(new_id(), purpose, scope)
        plan = IssuingPlan(
            blank.name, purpose, key.public_key(), x509.random_serial_number(), constraints=wanted
        )
        certificate = make_issuing(plan, root=root.certificate, root_key=root.key, now=now)
        record = self._sealed(blank, certificate, key)
        await self._install(record, replaces=replaces)

    async def _install(self, record: AuthorityRecord, *, replaces: str | None) -> Issuer:
        active = await self._ledger.install_authority(record, replaces=replaces)
        if active.authority_id == record.authority_id:
            log.info(
                "authority.made",
                authority=record.name,
                scope=record.scope,
                not_after=record.not_after.isoformat(),
                replaces=replaces,
            )
        await self.reload()
        return self._open(active)

    def _sealed(
        self, blank: _NewAuthority, certificate: x509.Certificate, key: PrivateKey
    ) -> AuthorityRecord:
        sealed_key = self._sealer.seal(
            private_key_der(key), purpose=KEY_PURPOSE, record_id=blank.authority_id
        )
        return AuthorityRecord(
            authority_id=blank.authority_id,
            name=blank.name,
            purpose=blank.purpose,
            scope=blank.scope,
            state=AuthorityState.ACTIVE,
            certificate_der=certificate.public_bytes(Encoding.DER),
            sealed_key=sealed_key,
            created_at=self._clock.now(),
            not_after=certificate.not_valid_after_utc,
        )

    def _open(self, record: AuthorityRecord) -> Issuer:
        opened = self._opened.get(record.authority_id)
        if opened is not None:
            return opened
        certificate = x509.load_der_x509_certificate(record.certificate_der)
        secret = self._sealer.unseal(
            record.sealed_key, purpose=KEY_PURPOSE, record_id=record.authority_id
        )
        key = load_private_key(secret)
        if spki_der(key.public_key()) != certificate.public_key().public_bytes(
            Encoding.DER, PublicFormat.SubjectPublicKeyInfo
        ):
            raise Internal("an authority's key and certificate differ", authority=record.name)
        issuer = Issuer(record, certificate, key)
        self._opened[record.authority_id] = issuer
        return issuer
