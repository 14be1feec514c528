"""Events in one order for the whole hub, and how far each agent's spool is stored.

The order is ``id``, and readers go on from the last id that they saw. So ids must become visible
in their order: a row that is committed after one with a higher id would never be read. SQLite has
one writer and cannot do otherwise. On PostgreSQL ids are drawn under an advisory lock that is held
until the commit. To hold it for an instant only, and never while waiting for another lock (which
could deadlock), events are collected in the session and written, all with one statement, as the
last act before the commit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import Column, ColumnElement, func, insert, select, text
from sqlalchemy.event import listens_for
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from fedhub.domain.access import EVERYTHING, Visibility
from fedhub.domain.models import Event
from fedhub.store.tables import EventTable, SpoolCursorTable, table_of
from fedhub.store.visibility import is_visible
from fedsql.columns import storable
from fedsql.statements import fetch_all, in_list, upsert, values_of

_T: Final = table_of(EventTable)
_CURSOR: Final = table_of(SpoolCursorTable)
_COLUMNS: Final = [column for column in _T.c if column.name != "agent_id"]
_PENDING: Final = "pending_events"
_WRITTEN: Final = "events_written"
APPENDED: Final = "events_appended"
"""In a session's ``info``: an asyncio.Event that is set once events of it are committed."""
_ORDER_LOCK: Final = 0x0F_ED_00_02
_MAX_ID: Final = 2**63 - 1


class Appended(NamedTuple):
    """Which events of a batch were new, and up to where the spool is stored now."""

    events: tuple[Event, ...]
    acked_through: int


class EventSession(Session):
    """A session that writes the events collected in it when it commits."""


@listens_for(EventSession, "before_commit")
def _write_pending(session: Session) -> None:
    rows = session.info.pop(_PENDING, None)
    if not rows:
        return
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ORDER_LOCK})
    session.execute(insert(_T), rows)
    session.info[_WRITTEN] = True


@listens_for(EventSession, "after_commit")
def _wake_readers(session: Session) -> None:
    appended: asyncio.Event | None = session.info.get(APPENDED)
    if session.info.pop(_WRITTEN, False) and appended is not None:
        appended.set()


def _collect(db: AsyncSession, event: Event, agent_id: str | None) -> None:
    row: dict[str, Any] = values_of(event) | {
        "agent_id": agent_id,
        "message": storable(event.message),
        "facts": {storable(name): storable(fact) for name, fact in event.facts.items()},
    }
    del row["id"]
    db.info.setdefault(_PENDING, []).append(row)


async def append(db: AsyncSession, event: Event) -> Event:
    """Add an event of the hub's own; it gets its id at the commit, so the answer's is still 0."""
    _collect(db, event, None)
    return event


async def append_from_agent(
    db: AsyncSession, agent_id: str, spool_id: str, events: Sequence[Event]
) -> Appended:
    """Add those events of a spool that are not stored yet, and raise the spool's cursor.

    Sequences rise by one and are stored in their order, so everything up to the cursor is there
    already. On PostgreSQL the cursor's row is locked: two sessions of an agent cannot both add.
    """
    known = await _locked_cursor(db, agent_id, spool_id)
    fresh: list[Event] = []
    reached = known
    for event in events:
        if event.seq is None or event.spool_id != spool_id:
            raise ValueError("an agent's event bears its spool and its sequence")
        if event.seq > reached:
            fresh.append(event)
            reached = event.seq
    for event in fresh:
        _collect(db, event, agent_id)
    if reached > known:
        await db.execute(
            _CURSOR.update()
            .where(_CURSOR.c.agent_id == agent_id, _CURSOR.c.spool_id == spool_id)
            .values(acked_through=reached)
        )
    return Appended(tuple(fresh), reached)


async def _locked_cursor(db: AsyncSession, agent_id: str, spool_id: str) -> int:
    """Return the cursor, made where it is missing, and keep others from raising it meanwhile."""
    statement = upsert(db, _CURSOR).values(agent_id=agent_id, spool_id=spool_id, acked_through=0)
    locking = statement.on_conflict_do_update(
        index_elements=["agent_id", "spool_id"],
        set_={"acked_through": _CURSOR.c.acked_through},
    ).returning(_CURSOR.c.acked_through)
    return int((await db.execute(locking)).scalar_one())


async def acked_through(db: AsyncSession, agent_id: str, spool_id: str) -> int:
    """Return the last sequence of a spool that is stored; 0 for a spool never seen."""
    statement = select(_CURSOR.c.acked_through).where(
        _CURSOR.c.agent_id == agent_id, _CURSOR.c.spool_id == spool_id
    )
    return int(await db.scalar(statement) or 0)


async def newest_id(db: AsyncSession) -> int:
    """Return the highest id of a committed event; 0 where there is none."""
    return int(await db.scalar(select(func.max(_T.c.id))) or 0)


async def list_page(  # noqa: PLR0913 - a filter has this many sides
    db: AsyncSession,
    *,
    after_id: int = 0,
    limit: int,
    site_id: str | None = None,
    federation_ids: Collection[str] | None = None,
    resource_ids: Collection[str] | None = None,
    kind: str | None = None,
    visibility: Visibility = EVERYTHING,
    newest_first: bool = False,
) -> tuple[Event, ...]:
    """Return up to ``limit`` committed events after ``after_id``, oldest (or newest) first."""
    statement = select(*_COLUMNS).where(_T.c.id > min(after_id, _MAX_ID)).limit(limit)
    filters = {
        _T.c.site_id: None if site_id is None else [site_id],
        _T.c.federation_id: federation_ids,
        _T.c.resource_id: resource_ids,
        _T.c.kind: None if kind is None else [kind],
    }
    statement = statement.where(
        is_visible(db, visibility, federation_id=_T.c.federation_id, site_id=_T.c.site_id)
    )
    for column, values in filters.items():
        if values is not None:
            statement = statement.where(_is_one_of(db, column, values))
    return await fetch_all(
        db, Event, statement.order_by(_T.c.id.desc() if newest_first else _T.c.id.asc())
    )


def _is_one_of(
    db: AsyncSession, column: Column[Any], values: Collection[str]
) -> ColumnElement[bool]:
    """Compare with one value where there is one: the index then gives the order, too."""
    return column == next(iter(values)) if len(values) == 1 else in_list(db, column, values)


async def facts_of(db: AsyncSession, federation_id: str, *, kind: str) -> list[dict[str, str]]:
    """Return the facts of a federation's events of one kind, those of this transaction too."""
    statement = select(_T.c.facts).where(_T.c.federation_id == federation_id, _T.c.kind == kind)
    stored = list((await db.scalars(statement.order_by(_T.c.id))).all())
    pending = db.info.get(_PENDING, ())
    fresh = [row for row in pending if (row["federation_id"], row["kind"]) == (federation_id, kind)]
    return stored + [row["facts"] for row in fresh]


async def federation_of(db: AsyncSession, resource_id: str, site_id: str) -> str | None:
    """Return the federation of a resource by what is told of it at this very site."""
    events_of_resource = select(_T.c.federation_id).where(
        _T.c.resource_id == resource_id,
        _T.c.site_id == site_id,
        _T.c.federation_id.is_not(None),
    )
    newest_first = events_of_resource.order_by(_T.c.id.desc())
    federation_id: str | None = await db.scalar(newest_first.limit(1))
    return federation_id
