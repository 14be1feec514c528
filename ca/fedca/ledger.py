"""What the authority must remember, and the few steps that must be atomic.

``Ledger`` is the contract; ``MemoryLedger`` and the hub's SQL ledger keep it, held by one suite,
``tests/contract/ledger``. Each method is one transaction: when it returns, its effect is durable;
when it raises, nothing has changed.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Protocol

from fedca.records import (
    AuthorityRecord,
    AuthorityState,
    CaPurpose,
    IssuanceRecord,
    IssuanceState,
    KeyVerdict,
    RedeemOutcome,
    Redemption,
    Revocation,
    RevocationReason,
    TokenRecord,
)
from fedcore.errors import Conflict, NotFound

__all__ = [
    "AuthorityRecord",
    "AuthorityState",
    "CaPurpose",
    "IssuanceRecord",
    "IssuanceState",
    "KeyVerdict",
    "Ledger",
    "MemoryLedger",
    "RedeemOutcome",
    "Redemption",
    "Revocation",
    "RevocationReason",
    "TokenRecord",
]


class Ledger(Protocol):
    """Memory of the authority; every method is one atomic, durable step."""

    async def authorities(self) -> tuple[AuthorityRecord, ...]:
        """List all authorities, active and retired, by ``created_at``, then ``authority_id``."""

    async def active_authority(self, purpose: CaPurpose, scope: str) -> AuthorityRecord | None:
        """Return the one that issues for ``purpose`` and ``scope``."""

    async def install_authority(
        self, record: AuthorityRecord, *, replaces: str | None
    ) -> AuthorityRecord:
        """Store ``record`` as the active one of its purpose and scope; return the active one.

        At most one is active per (purpose, scope). If one is active and its id is ``replaces``, it
        is retired in the same step. If one is active and is not ``replaces``, nothing is stored and
        that one is returned: another process was first, and its authority is to be used. Raises
        ``Conflict`` if the id or the name exists already.
        """

    async def begin_issuance(self, record: IssuanceRecord) -> KeyVerdict:
        """Store a ``PENDING`` issuance before anything is signed.

        A key belongs for ever to the first subject that it was seen with. Stored only when the
        verdict is ``ACCEPTED``; ``OWNED_BY_ANOTHER``: the key belongs to another subject;
        ``ALREADY_CERTIFIED``: this subject has an ``ISSUED`` certificate (revoked and expired ones
        included) for it. Pending and failed issuances of the same key and subject do not hinder.
        Raises ``Conflict`` if the serial exists.
        """

    async def complete_issuance(self, serial: str, certificate_der: bytes) -> bool:
        """Turn a pending issuance into an issued one; true if this call's certificate counts.

        False if another issuance of the same key was completed meanwhile: this one is then
        ``FAILED`` with the failure ``key_already_certified`` and its certificate is not stored.
        Raises ``NotFound`` for an unknown serial, ``Conflict`` if it is not pending.
        """

    async def fail_issuance(self, serial: str, failure: str) -> None:
        """Close a pending issuance with a short reason word; no effect if it is not pending.

        Raises ``NotFound`` for an unknown serial.
        """

    async def issuance(self, serial: str) -> IssuanceRecord | None:
        """Return an issuance in any state."""

    async def issued_for_key(self, spki_sha256: str) -> IssuanceRecord | None:
        """Return the ``ISSUED`` issuance of a key (at most one), revoked and expired included."""

    async def revoke(self, serial: str, reason: RevocationReason, at: datetime) -> bool:
        """Revoke an issued certificate; false if it was revoked before (the first reason stays).

        Raises ``NotFound`` if no issued certificate has this serial.
        """

    async def revocations(
        self, *, expiring_after: datetime, issuer_id: str | None = None
    ) -> tuple[Revocation, ...]:
        """List the revoked with ``not_after > expiring_after``, by ``revoked_at``, then serial.

        ``issuer_id`` narrows to one signer.
        """

    async def next_crl_number(self, issuer_id: str) -> int:
        """Return the next number of the signer's list: 1, then strictly rising, never reused."""

    async def add_token(self, record: TokenRecord) -> None:
        """Store a new token. Raises ``Conflict`` if its id or its hash exists."""

    async def redeem_token(
        self, token_sha256: str, *, spki_sha256: str, agent_id: str, now: datetime
    ) -> Redemption:
        """Consume a token for a key in one step; of many at once exactly one is ``GRANTED``.

        Judged in this order: ``UNKNOWN``; ``VOIDED``; ``EXPIRED`` when ``now >= expires_at``, also
        when redeemed before; unused: ``GRANTED``, storing ``now``, the key and ``agent_id``; used:
        ``REPEATED`` for the same key (the record keeps its first ``agent_id``), ``KEY_MISMATCH``
        for another key.
        """

    async def void_tokens(self, site_id: str, at: datetime) -> int:
        """Void the site's tokens, used or not; return how many were not voided before."""


class MemoryLedger:
    """A ledger that forgets when the process ends: for tests and for trying things out.

    No method waits for anything, so each is atomic within one event loop.
    """

    def __init__(self) -> None:
        self._authorities: dict[str, AuthorityRecord] = {}
        self._issuances: dict[str, IssuanceRecord] = {}
        self._key_owners: dict[str, str] = {}
        self._certified_keys: dict[str, str] = {}
        self._crl_numbers: dict[str, int] = {}
        self._tokens: dict[str, TokenRecord] = {}

    async def authorities(self) -> tuple[AuthorityRecord, ...]:
        """List all authorities, oldest first."""
        rows = self._authorities.values()
        return tuple(sorted(rows, key=lambda row: (row.created_at, row.authority_id)))

    async def active_authority(self, purpose: CaPurpose, scope: str) -> AuthorityRecord | None:
        """Return the one that issues for ``purpose`` and ``scope``."""
        for row in self._authorities.values():
            is_active = row.state is AuthorityState.ACTIVE
            if is_active and row.purpose is purpose and row.scope == scope:
                return row
        return None

    async def install_authority(
        self, record: AuthorityRecord, *, replaces: str | None
    ) -> AuthorityRecord:
        """Store ``record`` as active unless another than ``replaces`` is; return the active one."""
        active = await self.active_authority(record.purpose, record.scope)
        if active is not None and active.authority_id != replaces:
            return active
        names = {row.name for row in self._authorities.values()}
        if record.authority_id in self._authorities or record.name in names:
            raise Conflict("the ledger has this authority already", authority=record.name)
        if active is not None:
            retired = replace(active, state=AuthorityState.RETIRED)
            self._authorities[active.authority_id] = retired
        stored = replace(record, state=AuthorityState.ACTIVE)
        self._authorities[record.authority_id] = stored
        return stored

    async def begin_issuance(self, record: IssuanceRecord) -> KeyVerdict:
        """Store a pending issuance if its key may be used."""
        if record.serial in self._issuances:
            raise Conflict("the ledger has this serial already", serial=record.serial)
        if self._key_owners.get(record.spki_sha256, record.subject) != record.subject:
            return KeyVerdict.OWNED_BY_ANOTHER
        if record.spki_sha256 in self._certified_keys:
            return KeyVerdict.ALREADY_CERTIFIED
        self._key_owners[record.spki_sha256] = record.subject
        self._issuances[record.serial] = replace(record, state=IssuanceState.PENDING)
        return KeyVerdict.ACCEPTED

    async def complete_issuance(self, serial: str, certificate_der: bytes) -> bool:
        """Turn a pending issuance into an issued one, or fail it if the key has one by now."""
        row = self._known(serial)
        if row.state is not IssuanceState.PENDING:
            raise Conflict("the issuance is closed already", serial=serial, state=row.state)
        if row.spki_sha256 in self._certified_keys:
            await self.fail_issuance(serial, "key_already_certified")
            return False
        self._certified_keys[row.spki_sha256] = serial
        self._issuances[serial] = replace(
            row, state=IssuanceState.ISSUED, certificate_der=certificate_der
        )
        return True

    async def fail_issuance(self, serial: str, failure: str) -> None:
        """Close a pending issuance with a reason word."""
        row = self._known(serial)
        if row.state is IssuanceState.PENDING:
            self._issuances[serial] = replace(row, state=IssuanceState.FAILED, failure=failure)

    async def issuance(self, serial: str) -> IssuanceRecord | None:
        """Return an issuance in any state."""
        return self._issuances.get(serial)

    async def issued_for_key(self, spki_sha256: str) -> IssuanceRecord | None:
        """Return the issued certificate's record of a key."""
        serial = self._certified_keys.get(spki_sha256)
        return None if serial is None else self._issuances[serial]

    async def revoke(self, serial: str, reason: RevocationReason, at: datetime) -> bool:
        """Revoke an issued certificate; false if it was revoked before."""
        row = self._known(serial)
        if row.state is not IssuanceState.ISSUED:
            raise NotFound("no certificate with this serial was issued", serial=serial)
        if row.revoked_at is not None:
            return False
        self._issuances[serial] = replace(row, revoked_at=at, revocation_reason=reason)
        return True

    async def revocations(
        self, *, expiring_after: datetime, issuer_id: str | None = None
    ) -> tuple[Revocation, ...]:
        """List the revoked certificates that expire after a time."""
        found = [
            Revocation(row.serial, row.issuer_id, reason, row.revoked_at, row.not_after)
            for row in self._issuances.values()
            if row.revoked_at is not None
            and (reason := row.revocation_reason) is not None
            and row.not_after > expiring_after
            and issuer_id in {None, row.issuer_id}
        ]
        return tuple(sorted(found, key=lambda line: (line.revoked_at, line.serial)))

    async def next_crl_number(self, issuer_id: str) -> int:
        """Return the next number of the signer's list."""
        number = self._crl_numbers.get(issuer_id, 0) + 1
        self._crl_numbers[issuer_id] = number
        return number

    async def add_token(self, record: TokenRecord) -> None:
        """Store a new token."""
        ids = {row.token_id for row in self._tokens.values()}
        if record.token_sha256 in self._tokens or record.token_id in ids:
            raise Conflict("the ledger has this token already", token_id=record.token_id)
        self._tokens[record.token_sha256] = record

    async def redeem_token(
        self, token_sha256: str, *, spki_sha256: str, agent_id: str, now: datetime
    ) -> Redemption:
        """Consume a token for a key."""
        row = self._tokens.get(token_sha256)
        if row is None:
            return Redemption(RedeemOutcome.UNKNOWN, None)
        if row.voided_at is not None:
            return Redemption(RedeemOutcome.VOIDED, row)
        if now >= row.expires_at:
            return Redemption(RedeemOutcome.EXPIRED, row)
        if row.redeemed_at is None:
            row = replace(row, redeemed_at=now, spki_sha256=spki_sha256, agent_id=agent_id)
            self._tokens[token_sha256] = row
            return Redemption(RedeemOutcome.GRANTED, row)
        is_same_key = row.spki_sha256 == spki_sha256
        outcome = RedeemOutcome.REPEATED if is_same_key else RedeemOutcome.KEY_MISMATCH
        return Redemption(outcome, row)

    async def void_tokens(self, site_id: str, at: datetime) -> int:
        """Void the site's tokens."""
        rows = [r for r in self._tokens.values() if r.site_id == site_id and r.voided_at is None]
        for row in rows:
            self._tokens[row.token_sha256] = replace(row, voided_at=at)
        return len(rows)

    def _known(self, serial: str) -> IssuanceRecord:
        row = self._issuances.get(serial)
        if row is None:
            raise NotFound("no certificate with this serial was issued", serial=serial)
        return row
