"""Facts of the hub as a whole: its identity."""

from __future__ import annotations

from typing import Final

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from fedcore.ids import new_id
from fedhub.store.tables import SettingTable, table_of
from fedsql.statements import upsert

_T: Final = table_of(SettingTable)
_IDENTITY: Final = "hub_id"


async def get_or_create_identity(db: AsyncSession) -> str:
    """Return the hub's id, made at the first call; all replicas get the same."""
    statement = upsert(db, _T).values(name=_IDENTITY, value=new_id()).on_conflict_do_nothing()
    await db.execute(statement)
    return str(await db.scalar(select(_T.c.value).where(_T.c.name == _IDENTITY)))
