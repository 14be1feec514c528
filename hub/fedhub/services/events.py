"""The record of what happened, in one order for the whole hub."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

from fedhub.domain.access import Permission, Principal
from fedhub.domain.records import Event
from fedhub.services.federations import require as require_federation
from fedhub.services.hub import Hub
from fedhub.services.participants import require as require_participant
from fedhub.services.sites import require as require_site
from fedhub.store import events
from fedproto.errors import Unavailable
from fedproto.tasks import wait_for_wake

FOLLOW_POLL_S: Final = 0.5
FOLLOW_BATCH: Final = 100
"""Events that a follower may hold in memory."""


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events are wanted; None means any."""

    site_id: str | None = None
    federation_id: str | None = None
    resource_id: str | None = None
    kind: str | None = None


async def filter_by_names(
    hub: Hub,
    principal: Principal,
    *,
    site: str | None,
    federation: str | None,
    participant: str | None,
    kind: str | None,
) -> EventFilter:
    """Turn the names that people use into a filter; NotFound for a name that is unknown."""
    principal.require(Permission.READ)
    async with hub.database.read() as db:
        site_id = (await require_site(db, site)).id if site is not None else None
        federation_id = None
        if federation is not None:
            federation_id = (await require_federation(db, federation)).id
        resource_id = None
        if participant is not None:
            resource_id = (await require_participant(db, participant)).id
    return EventFilter(site_id, federation_id, resource_id, kind)


async def list_after(
    hub: Hub,
    principal: Principal,
    wanted: EventFilter,
    *,
    after_id: int,
    limit: int,
    newest_first: bool = False,
) -> tuple[Event, ...]:
    """Return up to ``limit`` events after ``after_id`` (or the newest ones) that match."""
    principal.require(Permission.READ)
    async with hub.database.read() as db:
        return await events.list_page(
            db,
            after_id=after_id,
            limit=limit,
            site_id=wanted.site_id,
            federation_id=wanted.federation_id,
            resource_id=wanted.resource_id,
            kind=wanted.kind,
            newest_first=newest_first,
        )


async def follow(
    hub: Hub, principal: Principal, wanted: EventFilter, *, after_id: int
) -> AsyncIterator[tuple[Event, ...]]:
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
            position = found[-1].id
        yield found
        if not found:
            await wait_for_wake(None, FOLLOW_POLL_S)
