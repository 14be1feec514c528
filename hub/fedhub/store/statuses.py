"""Reported statuses: the latest word on each resource."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any, Final

from sqlalchemy import delete as delete_from
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from fedhub.domain.models import StoredStatus
from fedhub.store.tables import StatusTable, table_of
from fedproto.agent.v1 import status_pb2
from fedsql.columns import storable
from fedsql.statements import fetch_all, fetch_one, in_list, upsert, values_of

_T: Final = table_of(StatusTable)


def _stored(**columns: Any) -> StoredStatus:
    status = status_pb2.ResourceStatus.FromString(columns.pop("status"))
    return StoredStatus(**columns, status=status)


async def get(db: AsyncSession, resource_id: str) -> StoredStatus | None:
    """Return the status of a resource, or None."""
    return await fetch_one(db, _stored, select(_T).where(_T.c.resource_id == resource_id))


async def of_resources(db: AsyncSession, resource_ids: Collection[str]) -> dict[str, StoredStatus]:
    """Return the statuses of ``resource_ids`` by resource; those without are left out."""
    if not resource_ids:
        return {}
    statement = select(_T).where(in_list(db, _T.c.resource_id, resource_ids))
    return {status.resource_id: status for status in await fetch_all(db, _stored, statement)}


async def put(db: AsyncSession, stored: StoredStatus) -> None:
    """Store a status over the one before."""
    values = values_of(stored) | {
        "reason": storable(stored.reason),
        "message": storable(stored.message),
        "status": stored.status.SerializeToString(deterministic=True),
    }
    statement = upsert(db, _T).values(values)
    replaced = {name: statement.excluded[name] for name in values if name != "resource_id"}
    await db.execute(statement.on_conflict_do_update(index_elements=["resource_id"], set_=replaced))


async def touch(db: AsyncSession, resource_ids: Collection[str], at: datetime) -> None:
    """Note that the same was reported again at ``at``, in one statement."""
    if resource_ids:
        statement = update(_T).where(in_list(db, _T.c.resource_id, resource_ids))
        await db.execute(statement.values(reported_at=at))


async def delete(db: AsyncSession, resource_id: str) -> None:
    """Forget the status of a resource."""
    await db.execute(delete_from(_T).where(_T.c.resource_id == resource_id))
