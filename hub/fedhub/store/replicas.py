"""Hub processes: which are alive, so that sessions of a dead one can be released."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sqlalchemy import delete as delete_from
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from fedhub.store.tables import ReplicaTable, table_of
from fedsql.statements import upsert

_T: Final = table_of(ReplicaTable)


async def heartbeat(db: AsyncSession, replica_id: str, at: datetime) -> None:
    """Note that a process lives."""
    statement = upsert(db, _T).values(replica_id=replica_id, started_at=at, seen_at=at)
    await db.execute(
        statement.on_conflict_do_update(index_elements=["replica_id"], set_={"seen_at": at})
    )


async def silent(db: AsyncSession, before: datetime) -> tuple[str, ...]:
    """Return the processes that were not heard since ``before``."""
    statement = select(_T.c.replica_id).where(_T.c.seen_at < before).order_by(_T.c.replica_id)
    return tuple((await db.scalars(statement)).all())


async def forget(db: AsyncSession, replica_id: str) -> None:
    """Forget a process that ended."""
    await db.execute(delete_from(_T).where(_T.c.replica_id == replica_id))
