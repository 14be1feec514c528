"""Sessions of agents, fenced by epoch: of two for one agent the older writes nothing."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final

from sqlalchemy import select, text
from sqlalchemy import update as update_of
from sqlalchemy.ext.asyncio import AsyncSession

from fedcore.errors import ErrorCode, FedError
from fedhub.domain.models import AgentSession
from fedhub.domain.phases import SiteState
from fedhub.store.tables import AgentSessionTable, SiteTable, table_of
from fedsql.columns import sqlite_text
from fedsql.statements import fetch_one, is_sqlite, upsert

_T: Final = table_of(AgentSessionTable)
_SITE: Final = table_of(SiteTable)
_FLUSH: Final = """
UPDATE agent_sessions SET last_seen_at = heartbeat.seen_at FROM ({heartbeats}) AS heartbeat
WHERE agent_sessions.agent_id = heartbeat.agent_id AND agent_sessions.epoch = heartbeat.epoch
"""
_SQLITE_HEARTBEATS: Final = """
SELECT json_extract(value, '$[0]') AS agent_id, json_extract(value, '$[1]') AS epoch,
       json_extract(value, '$[2]') AS seen_at
FROM json_each(:heartbeats)
"""
_POSTGRES_HEARTBEATS: Final = """
SELECT value ->> 0 AS agent_id, CAST(value ->> 1 AS bigint) AS epoch,
       CAST(value ->> 2 AS timestamptz) AS seen_at
FROM json_array_elements(CAST(:heartbeats AS json))
"""


async def open(  # noqa: A001 - read as agent_sessions.open; a session has this many sides
    db: AsyncSession,
    *,
    agent_id: str,
    site_id: str,
    replica_id: str,
    session_id: str,
    instance_id: str,
    cluster_uid: str,
    at: datetime,
) -> int:
    """Begin a session in one statement and return its epoch, one above the agent's last."""
    values: dict[str, Any] = {
        "site_id": site_id,
        "replica_id": replica_id,
        "session_id": session_id,
        "instance_id": instance_id,
        "cluster_uid": cluster_uid,
        "connected_at": at,
        "last_seen_at": at,
        "connected": True,
    }
    statement = upsert(db, _T).values(agent_id=agent_id, epoch=1, **values)
    stored = statement.on_conflict_do_update(
        index_elements=["agent_id"], set_={"epoch": _T.c.epoch + 1, **values}
    ).returning(_T.c.epoch)
    return int((await db.execute(stored)).scalar_one())


async def get(db: AsyncSession, agent_id: str) -> AgentSession | None:
    """Return the agent's newest session, live or past, or None."""
    return await fetch_one(db, AgentSession, select(_T).where(_T.c.agent_id == agent_id))


async def check_epoch(db: AsyncSession, agent_id: str, epoch: int) -> None:
    """Raise FENCED unless ``epoch`` is the newest, and keep it the newest until the commit.

    PostgreSQL locks the row against a new session for that; SQLite has one writer anyway.
    """
    statement = select(_T.c.epoch).where(_T.c.agent_id == agent_id)
    if not is_sqlite(db):
        statement = statement.with_for_update(read=True)
    newest = await db.scalar(statement)
    if newest != epoch:
        raise FedError(
            "a newer session of this agent has taken over",
            code=ErrorCode.FENCED,
            epoch=epoch,
            newest=newest,
        )


async def close(db: AsyncSession, agent_id: str, epoch: int, at: datetime) -> bool:
    """Note that a session ended; false if a newer one took over or it had ended."""
    statement = (
        update_of(_T)
        .where(_T.c.agent_id == agent_id, _T.c.epoch == epoch, _T.c.connected)
        .values(connected=False, last_seen_at=at)
        .returning(_T.c.agent_id)
    )
    return (await db.execute(statement)).first() is not None


async def flush_heartbeats(
    db: AsyncSession, heartbeats: Iterable[tuple[str, int, datetime]]
) -> None:
    """Note when sessions (agent, epoch, time) were last heard, all in one statement.

    Those whose epoch is no longer the newest are left alone.
    """
    lite = is_sqlite(db)
    rows = [
        [agent_id, epoch, sqlite_text(at) if lite else at.isoformat()]
        # One order everywhere: replicas that write the same rows do not wait crosswise.
        for agent_id, epoch, at in sorted(heartbeats)
    ]
    if rows:
        statement = _FLUSH.format(heartbeats=_SQLITE_HEARTBEATS if lite else _POSTGRES_HEARTBEATS)
        await db.execute(text(statement), {"heartbeats": json.dumps(rows)})


async def lapsed(db: AsyncSession, before: datetime) -> tuple[str, ...]:
    """Return the sites that count as connected or cut off and are silent since ``before``."""
    statement = (
        select(_T.c.site_id)
        .join(_SITE, (_SITE.c.id == _T.c.site_id) & (_SITE.c.agent_id == _T.c.agent_id))
        .where(
            _T.c.last_seen_at < before,
            _SITE.c.state.in_([SiteState.ONLINE, SiteState.DISCONNECTED]),
        )
        .order_by(_T.c.site_id)
    )
    return tuple((await db.scalars(statement)).all())


async def of_replica(db: AsyncSession, replica_id: str) -> tuple[str, ...]:
    """Return the agents whose live session a hub process owns."""
    statement = select(_T.c.agent_id).where(_T.c.replica_id == replica_id, _T.c.connected)
    return tuple((await db.scalars(statement.order_by(_T.c.agent_id))).all())


async def release(db: AsyncSession, replica_id: str) -> tuple[str, ...]:
    """Note that a hub process is gone with its streams; return the sites that this cut off.

    ``last_seen_at`` stays: the lease runs from when the agent was last heard.
    """
    statement = (
        update_of(_T)
        .where(_T.c.replica_id == replica_id, _T.c.connected)
        .values(connected=False)
        .returning(_T.c.site_id)
    )
    return tuple(sorted((await db.scalars(statement)).all()))
