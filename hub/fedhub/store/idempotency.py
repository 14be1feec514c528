"""Answers to requests that bore an Idempotency-Key, so that a repeated one is answered the same."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import delete as delete_from
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from fedhub.store.tables import AnswerTable, table_of
from fedsql.statements import fetch_one, upsert

_T: Final = table_of(AnswerTable)


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer, when it was given, and the hash of the request that got it."""

    request_sha256: str
    status: int
    body: bytes
    headers: dict[str, str]
    at: datetime


async def remember(
    db: AsyncSession,
    key: str,
    principal_id: str,
    *,
    request_sha256: str,
    status: int,
    body: bytes,
    at: datetime,
    headers: dict[str, str] | None = None,
) -> None:
    """Keep the answer to a principal's request, over an older one of the same key."""
    values = {
        "request_sha256": request_sha256,
        "status": status,
        "body": body,
        "headers": headers or {},
        "answered_at": at,
    }
    statement = upsert(db, _T).values(key=key, principal=principal_id, **values)
    replaced = {name: statement.excluded[name] for name in values}
    await db.execute(
        statement.on_conflict_do_update(index_elements=["principal", "key"], set_=replaced)
    )


async def find(db: AsyncSession, key: str, principal_id: str) -> Answer | None:
    """Return what a principal's key was answered, or None."""
    columns = [_T.c.request_sha256, _T.c.status, _T.c.body, _T.c.headers]
    statement = select(*columns, _T.c.answered_at.label("at")).where(
        _T.c.principal == principal_id, _T.c.key == key
    )
    return await fetch_one(db, Answer, statement)


async def purge(db: AsyncSession, before: datetime) -> None:
    """Forget answers given before a time."""
    await db.execute(delete_from(_T).where(_T.c.answered_at < before))
