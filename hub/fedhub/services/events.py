"""The record of what happened, in one order for the whole hub."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from fedcore.errors import Unavailable
from fedcore.tasks import wait_for_wake
from fedhub.domain.access import Permission, Principal, ResourceType, not_found
from fedhub.domain.models import Event
from fedhub.services.context import HubContext
from fedhub.services.name_index import federation_ids_for_name, names_of, participant_ids_for_name
from fedhub.store import events, sites

FOLLOW_POLL_S: Final = 0.5
FOLLOW_BATCH: Final = 100
"""Events that a follower may hold in memory."""


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events are wanted; None means any."""

    site_id: str | None = None
    federation_ids: frozenset[str] | None = None
    resource_ids: frozenset[str] | None = None
    kind: str | None = None


@dataclass(frozen=True, slots=True)
class ToldEvent:
    """An event and the name of the resource that it is about, also when that is gone."""

    event: Event
    resource: str | None


async def record(  # noqa: PLR0913 - an event has this many sides
    hub: HubContext,
    db: AsyncSession,
    kind: str,
    message: str,
    *,
    severity: str = "info",
    actor: Principal | None = None,
    site_id: str | None = None,
    federation_id: str | None = None,
    resource_id: str | None = None,
    operation_id: str | None = None,
    facts: dict[str, str] | None = None,
) -> Event:
    """Append an event of the hub's own in the caller's transaction; nothing else appends any."""
    now = hub.clock.now()
    return await events.append(
        db,
        Event(
            id=0,
            occurred_at=now,
            recorded_at=now,
            kind=kind,
            severity=severity,
            message=message,
            actor_id=actor.id if actor is not None else None,
            actor=actor.name if actor is not None else None,
            site_id=site_id,
            federation_id=federation_id,
            resource_id=resource_id,
            operation_id=operation_id,
            facts=facts or {},
        ),
    )


async def filter_by_names(
    hub: HubContext,
    principal: Principal,
    *,
    site: str | None,
    federation: str | None,
    participant: str | None,
    kind: str | None,
) -> EventFilter:
    """Turn the names that people use into a filter; NotFound for a name that is unknown.

    A federation or participant that is gone is still known by its name.
    """
    principal.require(Permission.READ)
    async with hub.database.read() as db:
        site_id = await _site_id(db, site) if site is not None else None
        federation_ids = None
        if federation is not None:
            federation_ids = await federation_ids_for_name(db, federation)
        resource_ids = None
        if participant is not None:
            resource_ids = await participant_ids_for_name(db, participant)
    return EventFilter(site_id, federation_ids, resource_ids, kind)


async def _site_id(db: AsyncSession, name: str) -> str:
    site = await sites.by_name(db, name)
    if site is None:
        raise not_found(ResourceType.SITE, name)
    return site.id


async def list_after(
    hub: HubContext,
    principal: Principal,
    wanted: EventFilter,
    *,
    after_id: int,
    limit: int,
    newest_first: bool = False,
) -> tuple[ToldEvent, ...]:
    """Return up to ``limit`` events after ``after_id`` (or the newest ones) that match."""
    principal.require(Permission.READ)
    async with hub.database.read() as db:
        found = await events.list_page(
            db,
            after_id=after_id,
            limit=limit,
            site_id=wanted.site_id,
            federation_ids=wanted.federation_ids,
            resource_ids=wanted.resource_ids,
            kind=wanted.kind,
            newest_first=newest_first,
        )
        names = await names_of(db, {event.resource_id for event in found if event.resource_id})
    return tuple(ToldEvent(event, names.get(event.resource_id or "")) for event in found)


async def follow(
    hub: HubContext, principal: Principal, wanted: EventFilter, *, after_id: int
) -> AsyncIterator[tuple[ToldEvent, ...]]:
    """Yield events as they come, for ever; an empty tuple says that nothing came for a while.

    Polls the store: correct with any number of replicas, and cheap by the index on ``id``.
    """
    principal.require(Permission.READ)
    position = after_id
    while True:
        try:
            found = await list_after(hub, principal, wanted, after_id=position, limit=FOLLOW_BATCH)
        except Unavailable:
            # An outage of the database: what happened meanwhile comes when it is back.
            found = ()
        if found:
            position = found[-1].event.id
        yield found
        if not found:
            await wait_for_wake(None, FOLLOW_POLL_S)
