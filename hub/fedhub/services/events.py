"""The record of what happened, in one order for the whole hub."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from fedcore.errors import Unavailable
from fedhub.domain.access import Permission, Principal, ResourceType, not_found, of_event, visible
from fedhub.domain.models import Event
from fedhub.services.context import HubContext
from fedhub.services.event_feed import NamedEvent
from fedhub.services.name_index import federation_ids_for_name, names_of, participant_ids_for_name
from fedhub.store import events, sites

FOLLOW_COUNT: Final = 100
"""Events handed to a follower at once."""


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events a reader asks for; None means any."""

    site_id: str | None = None
    federation_ids: frozenset[str] | None = None
    resource_ids: frozenset[str] | None = None
    kind: str | None = None

    def matches(self, event: Event) -> bool:
        """Return whether an event is among them, as ``store.events.list_page`` decides."""
        return (
            (self.site_id is None or event.site_id == self.site_id)
            and (self.federation_ids is None or event.federation_id in self.federation_ids)
            and (self.resource_ids is None or event.resource_id in self.resource_ids)
            and (self.kind is None or event.kind == self.kind)
        )


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
    visible(principal, Permission.READ)
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
    event_filter: EventFilter,
    *,
    after_id: int,
    limit: int,
    newest_first: bool = False,
) -> tuple[NamedEvent, ...]:
    """Return up to ``limit`` events after ``after_id`` (or the newest ones) that match."""
    visibility = visible(principal, Permission.READ)
    async with hub.database.read() as db:
        page = await events.list_page(
            db,
            after_id=after_id,
            limit=limit,
            site_id=event_filter.site_id,
            federation_ids=event_filter.federation_ids,
            resource_ids=event_filter.resource_ids,
            kind=event_filter.kind,
            visibility=visibility,
            newest_first=newest_first,
        )
        names = await names_of(db, {event.resource_id for event in page if event.resource_id})
    return tuple(NamedEvent(event, names.get(event.resource_id or "")) for event in page)


async def follow(
    hub: HubContext, principal: Principal, event_filter: EventFilter, *, after_id: int
) -> AsyncGenerator[tuple[NamedEvent, ...], None]:
    """Yield events as they come, for ever; an empty tuple says that nothing came for a while.

    The past comes from the store, page by page, then what the one reader of this process hands
    out. Raises FollowerTooSlow when the caller falls behind; close the generator when done.
    """
    visibility = visible(principal, Permission.READ)

    def matches(event: Event) -> bool:
        return event_filter.matches(event) and visibility.covers(of_event(event))

    position = after_id
    async for page in _past(hub, principal, event_filter, after_id):
        position = page[-1].event.id if page else position
        yield page
    with hub.event_feed.subscribe(matches) as subscription:
        # What was committed between the last page and the subscription is in neither.
        async for page in _gap(hub, principal, event_filter, position):
            position = page[-1].event.id if page else position
            yield page
        while True:
            batch = await subscription.take(FOLLOW_COUNT, hub.timing.event_poll_s)
            fresh = tuple(named for named in batch if named.event.id > position)
            position = fresh[-1].event.id if fresh else position
            yield fresh


async def _past(
    hub: HubContext, principal: Principal, event_filter: EventFilter, after_id: int
) -> AsyncIterator[tuple[NamedEvent, ...]]:
    """Yield pages of the store until one is not full; empty ones while the database is away."""
    if hub.event_feed.recent(after_id) is not None:
        return
    position = after_id
    while True:
        try:
            page = await list_after(
                hub, principal, event_filter, after_id=position, limit=FOLLOW_COUNT
            )
        except Unavailable:
            # What happened meanwhile comes when it is back.
            yield ()
            await asyncio.sleep(hub.timing.event_poll_s)
            continue
        if page:
            position = page[-1].event.id
            yield page
        if len(page) < FOLLOW_COUNT:
            return


async def _gap(
    hub: HubContext, principal: Principal, event_filter: EventFilter, after_id: int
) -> AsyncIterator[tuple[NamedEvent, ...]]:
    """Yield what was committed up to where the feed has read, once a subscription holds it."""
    while True:
        try:
            await hub.event_feed.position()
        except Unavailable:
            yield ()
            await asyncio.sleep(hub.timing.event_poll_s)
        else:
            break
    recent = hub.event_feed.recent(after_id)
    if recent is None:
        async for page in _past(hub, principal, event_filter, after_id):
            yield page
        return
    visibility = visible(principal, Permission.READ)
    visible_events = tuple(
        named
        for named in recent
        if event_filter.matches(named.event) and visibility.covers(of_event(named.event))
    )
    if visible_events:
        yield visible_events
