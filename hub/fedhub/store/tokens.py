"""API tokens, stored hashed."""

from __future__ import annotations

from typing import Final

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from fedhub.domain.access import Permission, Principal
from fedhub.store.tables import TokenTable, table_of
from fedsql.statements import upsert

_T: Final = table_of(TokenTable)


async def add(
    db: AsyncSession, *, name: str, token_sha256: str, permissions: frozenset[Permission]
) -> None:
    """Store a token; an older one of the same name stops to work."""
    statement = upsert(db, _T).values(
        name=name,
        token_sha256=token_sha256,
        permissions=sorted(permission.value for permission in permissions),
    )
    new = statement.excluded
    await db.execute(
        statement.on_conflict_do_update(
            index_elements=["name"],
            set_={"token_sha256": new.token_sha256, "permissions": new.permissions},
        )
    )


async def find(db: AsyncSession, token_sha256: str) -> Principal | None:
    """Return the principal of a token's hash, or None.

    Looking up by the hash needs no constant time: who could time it would learn a hash's prefix.
    """
    statement = select(_T.c.name, _T.c.permissions).where(_T.c.token_sha256 == token_sha256)
    row = (await db.execute(statement)).first()
    if row is None:
        return None
    return Principal(name=row[0], permissions=frozenset(Permission(word) for word in row[1]))
