"""API tokens, stored hashed. What a token may do, it may do everywhere."""

from __future__ import annotations

from typing import Final

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from fedhub.domain.access import Grant, Permission, Principal, PrincipalKind
from fedhub.store.tables import TokenTable, table_of
from fedsql.statements import upsert

_T: Final = table_of(TokenTable)


async def add(
    db: AsyncSession,
    *,
    token_id: str,
    name: str,
    token_sha256: str,
    permissions: frozenset[Permission],
) -> None:
    """Store a token; an older one of the same name stops to work, and its id passes on.

    The id stays, so that what the name's holder did remains theirs when the secret is replaced.
    """
    statement = upsert(db, _T).values(
        id=token_id,
        name=name,
        token_sha256=token_sha256,
        permissions=sorted(permission.value for permission in permissions),
    )
    new = statement.excluded
    await db.execute(
        statement.on_conflict_do_update(
            index_elements=["name"],
            set_={
                "id": func.coalesce(_T.c.id, new.id),
                "token_sha256": new.token_sha256,
                "permissions": new.permissions,
            },
        )
    )


async def find(db: AsyncSession, token_sha256: str) -> Principal | None:
    """Return the principal of a token's hash, or None.

    Looking up by the hash needs no constant time: who could time it would learn a hash's prefix.
    """
    statement = select(_T.c.id, _T.c.name, _T.c.permissions).where(
        _T.c.token_sha256 == token_sha256, _T.c.id.is_not(None)
    )
    row = (await db.execute(statement)).first()
    if row is None:
        return None
    return Principal(
        id=row.id,
        kind=PrincipalKind.TOKEN,
        name=row.name,
        grants=(Grant(frozenset(Permission(word) for word in row.permissions)),),
    )
