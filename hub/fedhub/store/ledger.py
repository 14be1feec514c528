"""The authority's ledger in SQL. Each method is one transaction of its own.

What must be atomic is held by a row lock or an index of the database, not by this process, so that
replicas of the hub cannot undo each other.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Final

from sqlalchemy import Select, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

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
from fedhub.store.ledger_tables import (
    AuthorityTable,
    CrlNumberTable,
    IssuanceTable,
    JoinTokenTable,
    KeyTable,
)
from fedhub.store.tables import table_of
from fedsql.engine import Database
from fedsql.statements import fetch_all, fetch_one, is_sqlite, upsert, values_of

_AUTHORITY: Final = table_of(AuthorityTable)
_ISSUANCE: Final = table_of(IssuanceTable)
_KEY: Final = table_of(KeyTable)
_NUMBER: Final = table_of(CrlNumberTable)
_TOKEN: Final = table_of(JoinTokenTable)
_AUTHORITIES_LOCK: Final = 0x0F_ED_00_03
KEY_TAKEN: Final = "key_already_certified"


class SqlLedger:
    """``fedca.ledger.Ledger`` on the hub's database. Not to be called inside a transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def authorities(self) -> tuple[AuthorityRecord, ...]:
        """List all authorities, oldest first."""
        order = (_AUTHORITY.c.created_at, _AUTHORITY.c.authority_id)
        async with self._database.read() as db:
            return await fetch_all(db, AuthorityRecord, select(_AUTHORITY).order_by(*order))

    async def active_authority(self, purpose: CaPurpose, scope: str) -> AuthorityRecord | None:
        """Return the one that issues for ``purpose`` and ``scope``."""
        async with self._database.read() as db:
            return await fetch_one(db, AuthorityRecord, _active(purpose, scope))

    async def install_authority(
        self, record: AuthorityRecord, *, replaces: str | None
    ) -> AuthorityRecord:
        """Store ``record`` as active unless another than ``replaces`` is; return the active one."""
        async with self._database.begin() as db:
            if not is_sqlite(db):
                lock = text("SELECT pg_advisory_xact_lock(:key)")
                await db.execute(lock, {"key": _AUTHORITIES_LOCK})
            active = await fetch_one(db, AuthorityRecord, _active(record.purpose, record.scope))
            if active is not None and active.authority_id != replaces:
                return active
            await _refuse_known(db, record)
            if active is not None:
                await db.execute(
                    update(_AUTHORITY)
                    .where(_AUTHORITY.c.authority_id == active.authority_id)
                    .values(state=AuthorityState.RETIRED)
                )
            stored = replace(record, state=AuthorityState.ACTIVE)
            await db.execute(insert(_AUTHORITY).values(values_of(stored)))
            return stored

    async def begin_issuance(self, record: IssuanceRecord) -> KeyVerdict:
        """Store a pending issuance if its key may be used."""
        async with self._database.begin() as db:
            if await fetch_one(db, IssuanceRecord, _issuance(record.serial)) is not None:
                raise Conflict("the ledger has this serial already", serial=record.serial)
            claim = upsert(db, _KEY).values(spki_sha256=record.spki_sha256, subject=record.subject)
            await db.execute(claim.on_conflict_do_nothing())
            if await _lock_key(db, record.spki_sha256) != record.subject:
                return KeyVerdict.OWNED_BY_ANOTHER
            if await fetch_one(db, IssuanceRecord, _issued(record.spki_sha256)) is not None:
                return KeyVerdict.ALREADY_CERTIFIED
            pending = replace(record, state=IssuanceState.PENDING)
            await db.execute(insert(_ISSUANCE).values(values_of(pending)))
            return KeyVerdict.ACCEPTED

    async def complete_issuance(self, serial: str, certificate_der: bytes) -> bool:
        """Turn a pending issuance into an issued one, or fail it if the key has one by now."""
        async with self._database.begin() as db:
            row = await _known(db, serial)
            await _lock_key(db, row.spki_sha256)
            row = await _known(db, serial)
            if row.state is not IssuanceState.PENDING:
                raise Conflict("the issuance is closed already", serial=serial, state=row.state)
            if await fetch_one(db, IssuanceRecord, _issued(row.spki_sha256)) is not None:
                await _close(db, serial, state=IssuanceState.FAILED, failure=KEY_TAKEN)
                return False
            await _close(db, serial, state=IssuanceState.ISSUED, certificate_der=certificate_der)
            return True

    async def fail_issuance(self, serial: str, failure: str) -> None:
        """Close a pending issuance with a reason word."""
        async with self._database.begin() as db:
            await _known(db, serial)
            await _close(db, serial, state=IssuanceState.FAILED, failure=failure)

    async def issuance(self, serial: str) -> IssuanceRecord | None:
        """Return an issuance in any state."""
        async with self._database.read() as db:
            return await fetch_one(db, IssuanceRecord, _issuance(serial))

    async def issued_for_key(self, spki_sha256: str) -> IssuanceRecord | None:
        """Return the issued certificate's record of a key."""
        async with self._database.read() as db:
            return await fetch_one(db, IssuanceRecord, _issued(spki_sha256))

    async def revoke(self, serial: str, reason: RevocationReason, at: datetime) -> bool:
        """Revoke an issued certificate; false if it was revoked before."""
        async with self._database.begin() as db:
            row = await _known(db, serial)
            if row.state is not IssuanceState.ISSUED:
                raise NotFound("no certificate with this serial was issued", serial=serial)
            statement = (
                update(_ISSUANCE)
                .where(_ISSUANCE.c.serial == serial, _ISSUANCE.c.revoked_at.is_(None))
                .values(revoked_at=at, revocation_reason=reason)
                .returning(_ISSUANCE.c.serial)
            )
            return (await db.execute(statement)).first() is not None

    async def revocations(
        self, *, expiring_after: datetime, issuer_id: str | None = None
    ) -> tuple[Revocation, ...]:
        """List the revoked certificates that expire after a time."""
        columns = _ISSUANCE.c
        statement = (
            select(
                columns.serial,
                columns.issuer_id,
                columns.revocation_reason.label("reason"),
                columns.revoked_at,
                columns.not_after,
            )
            .where(columns.revoked_at.is_not(None), columns.not_after > expiring_after)
            .order_by(columns.revoked_at, columns.serial)
        )
        if issuer_id is not None:
            statement = statement.where(columns.issuer_id == issuer_id)
        async with self._database.read() as db:
            return await fetch_all(db, Revocation, statement)

    async def next_crl_number(self, issuer_id: str) -> int:
        """Return the next number of the signer's list."""
        async with self._database.begin() as db:
            statement = upsert(db, _NUMBER).values(issuer_id=issuer_id, number=1)
            counted = statement.on_conflict_do_update(
                index_elements=["issuer_id"], set_={"number": _NUMBER.c.number + 1}
            ).returning(_NUMBER.c.number)
            return int((await db.execute(counted)).scalar_one())

    async def add_token(self, record: TokenRecord) -> None:
        """Store a new token."""
        async with self._database.begin() as db:
            await db.execute(insert(_TOKEN).values(values_of(record)))

    async def redeem_token(
        self, token_sha256: str, *, spki_sha256: str, agent_id: str, now: datetime
    ) -> Redemption:
        """Consume a token for a key; the UPDATE lets one of many through."""
        grant = (
            update(_TOKEN)
            .where(
                _TOKEN.c.token_sha256 == token_sha256,
                _TOKEN.c.redeemed_at.is_(None),
                _TOKEN.c.voided_at.is_(None),
                _TOKEN.c.expires_at > now,
            )
            .values(redeemed_at=now, spki_sha256=spki_sha256, agent_id=agent_id)
            .returning(*_TOKEN.c)
        )
        async with self._database.begin() as db:
            granted = (await db.execute(grant)).mappings().first()
            if granted is not None:
                return Redemption(RedeemOutcome.GRANTED, TokenRecord(**granted))
            statement = select(_TOKEN).where(_TOKEN.c.token_sha256 == token_sha256)
            return _refusal(await fetch_one(db, TokenRecord, statement), spki_sha256, now)

    async def void_tokens(self, site_id: str, at: datetime) -> int:
        """Void the site's tokens."""
        statement = (
            update(_TOKEN)
            .where(_TOKEN.c.site_id == site_id, _TOKEN.c.voided_at.is_(None))
            .values(voided_at=at)
            .returning(_TOKEN.c.token_id)
        )
        async with self._database.begin() as db:
            return len((await db.execute(statement)).all())


def _refusal(row: TokenRecord | None, spki_sha256: str, now: datetime) -> Redemption:
    """Return why a token was not granted."""
    if row is None:
        return Redemption(RedeemOutcome.UNKNOWN, None)
    if row.voided_at is not None:
        return Redemption(RedeemOutcome.VOIDED, row)
    if now >= row.expires_at:
        return Redemption(RedeemOutcome.EXPIRED, row)
    is_same_key = row.spki_sha256 == spki_sha256
    return Redemption(RedeemOutcome.REPEATED if is_same_key else RedeemOutcome.KEY_MISMATCH, row)


def _active(purpose: CaPurpose, scope: str) -> Select[tuple[object, ...]]:
    return select(_AUTHORITY).where(
        _AUTHORITY.c.purpose == purpose,
        _AUTHORITY.c.scope == scope,
        _AUTHORITY.c.state == AuthorityState.ACTIVE,
    )


def _issuance(serial: str) -> Select[tuple[object, ...]]:
    return select(_ISSUANCE).where(_ISSUANCE.c.serial == serial)


def _issued(spki_sha256: str) -> Select[tuple[object, ...]]:
    return select(_ISSUANCE).where(
        _ISSUANCE.c.spki_sha256 == spki_sha256, _ISSUANCE.c.state == IssuanceState.ISSUED
    )


async def _known(db: AsyncSession, serial: str) -> IssuanceRecord:
    row = await fetch_one(db, IssuanceRecord, _issuance(serial))
    if row is None:
        raise NotFound("no certificate with this serial was issued", serial=serial)
    return row


async def _lock_key(db: AsyncSession, spki_sha256: str) -> str:
    """Return the owner of a key, and keep others from certifying it until the commit."""
    statement = select(_KEY.c.subject).where(_KEY.c.spki_sha256 == spki_sha256).with_for_update()
    return str((await db.execute(statement)).scalar_one())


async def _close(db: AsyncSession, serial: str, **columns: object) -> None:
    pending = (_ISSUANCE.c.serial == serial) & (_ISSUANCE.c.state == IssuanceState.PENDING)
    await db.execute(update(_ISSUANCE).where(pending).values(columns))


async def _refuse_known(db: AsyncSession, record: AuthorityRecord) -> None:
    taken = (_AUTHORITY.c.authority_id == record.authority_id) | (_AUTHORITY.c.name == record.name)
    if await fetch_one(db, AuthorityRecord, select(_AUTHORITY).where(taken)) is not None:
        raise Conflict("the ledger has this authority already", authority=record.name)
