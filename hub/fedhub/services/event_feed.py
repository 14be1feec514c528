"""The one reader of the event table in this process; every follower is handed what it read.

The reader looks when this process commits events, and every ``event_poll_s`` for what other
replicas committed: one query, however many follow, and none while nobody does. What it read stays
in a ring, so that a follower that comes back after a break rarely asks the database.

A follower has a bounded queue. One that does not keep up is dropped with ``FollowerTooSlow``: it
knows the last event that it got, comes back and goes on after it. It never holds up the reader.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import structlog

from fedcore.errors import ErrorCode, FedError, Unavailable
from fedhub.domain.models import Event
from fedhub.services.name_index import names_of
from fedhub.store import events
from fedsql.engine import Database

log = structlog.get_logger()
READ_COUNT: Final = 500
"""Events read at once: a burst, such as an apply of 1,000 parties, is read in few queries."""
RING_COUNT: Final = 1_000
"""Events kept for followers that come back: minutes of a busy hub, some 1 MB, 16 MB at worst."""
QUEUE_COUNT: Final = 1_000
"""Events that wait for one follower; all followers share the same objects."""


@dataclass(frozen=True, slots=True)
class NamedEvent:
    """An event and the name of the resource that it is about, also when that is gone."""

    event: Event
    resource: str | None


class FollowerTooSlow(FedError):
    """A follower did not take its events in time; it may follow again from the last it got."""

    def __init__(self) -> None:
        super().__init__(
            "the events were not read in time; follow again after the last one",
            code=ErrorCode.TOO_MANY,
        )


class Subscription:
    """One follower's queue of the events that concern it."""

    def __init__(self, matches: Callable[[Event], bool]) -> None:
        self._matches = matches
        self._queue: deque[NamedEvent] = deque()
        self._wakeup = asyncio.Event()
        self._is_dropped = False

    def put(self, named: NamedEvent) -> None:
        """Queue an event that concerns the follower; a full queue drops the follower instead."""
        if self._is_dropped or not self._matches(named.event):
            return
        if len(self._queue) >= QUEUE_COUNT:
            self._is_dropped = True
            self._queue.clear()
        else:
            self._queue.append(named)
        self._wakeup.set()

    async def take(self, limit: int, timeout_s: float) -> tuple[NamedEvent, ...]:
        """Return up to ``limit`` events, or none after ``timeout_s``; raise FollowerTooSlow."""
        if not self._queue and not self._is_dropped:
            try:
                async with asyncio.timeout(timeout_s):
                    await self._wakeup.wait()
            except TimeoutError:
                return ()
        self._wakeup.clear()
        if self._is_dropped:
            raise FollowerTooSlow
        taken = tuple(self._queue.popleft() for _ in range(min(limit, len(self._queue))))
        if self._queue:
            self._wakeup.set()
        return taken


class EventFeed:
    """Reads new events once and hands them to every subscription; ``turn`` is its loop's work."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._subscriptions: set[Subscription] = set()
        self._ring: deque[NamedEvent] = deque(maxlen=RING_COUNT)
        self._position: int | None = None
        self._is_delayed = False

    async def turn(self) -> None:
        """Read what is new, all of it; an outage of the database delays it, and loses nothing."""
        try:
            while self._subscriptions and await self._read() == READ_COUNT:
                pass
        except Unavailable:
            if not self._is_delayed:
                log.info("events.delayed")
            self._is_delayed = True
        else:
            self._is_delayed = False

    async def _read(self) -> int:
        position = await self.position()
        async with self._database.read() as db:
            fresh = await events.list_page(db, after_id=position, limit=READ_COUNT)
            names = await names_of(db, {event.resource_id for event in fresh if event.resource_id})
        if self._position != position:
            # Everybody left meanwhile, and somebody came: the next turn begins from there.
            return 0
        for event in fresh:
            named = NamedEvent(event, names.get(event.resource_id or ""))
            self._ring.append(named)
            self._position = event.id
            for subscription in self._subscriptions:
                subscription.put(named)
        return len(fresh)

    async def position(self) -> int:
        """Return the id up to which the feed has read; the first to ask begins at the newest."""
        if self._position is None:
            async with self._database.read() as db:
                newest = await events.newest_id(db)
            # Of several that asked at once the first decides: others may have subscribed at it.
            if self._position is None:
                self._position = newest
        return self._position

    @contextmanager
    def subscribe(self, matches: Callable[[Event], bool]) -> Iterator[Subscription]:
        """Queue, while in the block, what is read from now on and ``matches``."""
        subscription = Subscription(matches)
        self._subscriptions.add(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions.discard(subscription)
            if not self._subscriptions:
                # Nobody follows: what happens now is read by nobody, and a gap must not show.
                self._position = None
                self._ring.clear()

    def recent(self, after_id: int) -> tuple[NamedEvent, ...] | None:
        """Return what the ring has after an id, or None where it does not reach back so far."""
        if self._position is not None and after_id >= self._position:
            return ()
        if not self._ring or after_id + 1 < self._ring[0].event.id:
            return None
        return tuple(named for named in self._ring if named.event.id > after_id)
