"""Serve /api/v1/events."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import aclosing
from datetime import datetime
from typing import Annotated, Final

import structlog
from aiohttp import web
from pydantic import BaseModel, Field

from fedhub.api.request import STOPPING, NameFilter, hub_of
from fedhub.domain.access import Principal
from fedhub.services import events
from fedhub.services.event_feed import FollowerTooSlow, NamedEvent
from fedhub.services.events import EventFilter
from fedweb.routes import NDJSON, Answer, Call, Query, Route, respond

log = structlog.get_logger()
PIECE_BYTES: Final = 64 * 1024
"""Written at once, and the most that waits in the transport for a follower."""


class EventView(BaseModel):
    """Something that happened."""

    id: int
    occurred_at: datetime
    recorded_at: datetime
    kind: str
    severity: str
    message: str
    site_id: str | None
    federation_id: str | None
    resource_id: str | None
    resource: str | None = Field(
        description="Name of the participant or endpoint, kept when it is gone."
    )
    operation_id: str | None
    actor: str | None
    facts: dict[str, str]


class EventPage(BaseModel):
    """A page of events in order; go on with after=<last_id>."""

    items: list[EventView]
    last_id: int


class EventQuery(Query):
    """Which events, and whether to stay on the line."""

    after: Annotated[int, Field(ge=0, le=2**62, description="Only events after this id.")] = 0
    limit: Annotated[int, Field(ge=1, le=1_000)] = 100
    newest: bool = Field(
        default=False, description="The newest ones instead of those after `after`."
    )
    follow: bool = Field(default=False, description="NDJSON, a line per event, for ever.")
    site: NameFilter = Field(default=None, description="Only events of this site.")
    federation: NameFilter = Field(default=None, description="Only events of this federation.")
    participant: NameFilter = Field(default=None, description="Only events of this participant.")
    kind: str | None = Field(default=None, max_length=100, description="Only this kind.")


def view(named: NamedEvent) -> EventView:
    """Build the public form of an event."""
    event = named.event
    return EventView(
        id=event.id,
        occurred_at=event.occurred_at,
        recorded_at=event.recorded_at,
        kind=event.kind,
        severity=event.severity,
        message=event.message,
        site_id=event.site_id,
        federation_id=event.federation_id,
        resource_id=event.resource_id,
        resource=named.resource,
        operation_id=event.operation_id,
        actor=event.actor,
        facts=event.facts,
    )


async def list_events(call: Call[Principal]) -> Answer:
    """Answer events in order."""
    page = await events.list_after(
        hub_of(call),
        call.principal,
        await _filter(call),
        after_id=call.query.after,
        limit=call.query.limit,
        newest_first=call.query.newest,
    )
    ordered = sorted(page, key=lambda named: named.event.id)
    last = ordered[-1].event.id if ordered else call.query.after
    return Answer(EventPage(items=[view(named) for named in ordered], last_id=last))


async def stream_events(call: Call[Principal]) -> web.StreamResponse:
    """Answer a page, or with ``follow`` a line per event until the caller hangs up."""
    if not call.query.follow:
        return respond(await list_events(call))
    event_filter = await _filter(call)
    with hub_of(call).stream_slots.hold(call.principal):
        return await _stream(call, event_filter)


async def _stream(call: Call[Principal], event_filter: EventFilter) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": NDJSON, "X-Accel-Buffering": "no"})
    await response.prepare(call.request)
    if call.request.transport is not None:
        call.request.transport.set_write_buffer_limits(high=PIECE_BYTES)
    try:
        await _follow(call, event_filter, response)
    except (ConnectionError, TimeoutError, FollowerTooSlow) as error:
        # The head is out: no problem document can follow it. A body without its end tells the
        # follower that this was no end in good order; it goes on after the last event it got.
        log.info("follower.lost", cause=type(error).__name__)
        if call.request.transport is not None:
            call.request.transport.abort()
    return response


async def _follow(
    call: Call[Principal], event_filter: EventFilter, response: web.StreamResponse
) -> None:
    hub = hub_of(call)
    idle_turns = max(1, round(hub.timing.event_idle_s / hub.timing.event_poll_s))
    quiet_turns = 0
    following = events.follow(hub, call.principal, event_filter, after_id=call.query.after)
    async with aclosing(following) as batches:
        async for batch in batches:
            quiet_turns = 0 if batch else quiet_turns + 1
            is_idle = not batch and quiet_turns % idle_turns == 0
            for piece in (b"\n",) if is_idle else pieces(batch):
                async with asyncio.timeout(hub.timing.follower_write_limit_s):
                    await response.write(piece)
            if call.request.app[STOPPING].is_set():
                return


def pieces(batch: Iterable[NamedEvent]) -> Iterator[bytes]:
    """Yield a line per event, cut into pieces of at most ``PIECE_BYTES``."""
    piece = bytearray()
    for named in batch:
        piece += view(named).model_dump_json().encode() + b"\n"
        while len(piece) >= PIECE_BYTES:
            yield bytes(piece[:PIECE_BYTES])
            del piece[:PIECE_BYTES]
    if piece:
        yield bytes(piece)


async def _filter(call: Call[Principal]) -> EventFilter:
    return await events.filter_by_names(
        hub_of(call),
        call.principal,
        site=call.query.site,
        federation=call.query.federation,
        participant=call.query.participant,
        kind=call.query.kind,
    )


ROUTES = (
    Route(
        "GET",
        "/api/v1/events",
        list_events,
        "List events in order, or follow them as NDJSON.",
        "events",
        EventPage,
        query=EventQuery,
        stream=stream_events,
    ),
)
