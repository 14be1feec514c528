"""One reader of the event table for all followers of a process."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, aclosing
from datetime import UTC, datetime

import pytest
from tests.support.patience import time_limit, until
from tests.support.principals import administrator, granted, principal

from fedcore.errors import Unavailable
from fedhub.domain.access import Permission, Scope, ScopeKind
from fedhub.domain.models import Event
from fedhub.instruments import Instruments
from fedhub.services import event_feed, events
from fedhub.services.event_feed import EventFeed, FollowerTooSlow
from fedhub.services.events import EventFilter
from fedhub.store import events as event_store
from fedhub.store.engine import open_database

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ANY = EventFilter()


def an_event(kind, **more):
    return Event(0, NOW, NOW, kind, "info", "", **more)


async def append(database, *kinds, **more):
    async with database.begin() as db:
        for kind in kinds:
            await event_store.append(db, an_event(kind, **more))


class Following:
    """A follower as a task: what it got, until it is closed or dropped."""

    def __init__(self, hub, event_filter=ANY, *, who=None, after_id=0):
        self.kinds = []
        self.error = None
        run = self._run(hub, who or administrator(), event_filter, after_id)
        self._task = asyncio.create_task(run)

    async def _run(self, hub, who, event_filter, after_id):
        following = events.follow(hub, who, event_filter, after_id=after_id)
        try:
            async with aclosing(following) as batches:
                async for batch in batches:
                    self.kinds += [named.event.kind for named in batch]
        except FollowerTooSlow as error:
            self.error = error

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


class Counting:
    """A database that counts the transactions that read."""

    def __init__(self, database):
        self._database = database
        self.reads = 0
        self.is_away = False

    def read(self):
        self.reads += 1
        if self.is_away:
            raise Unavailable("away")
        return self._database.read()


async def test_fifty_followers_cost_one_query_a_turn(lab):
    database = Counting(lab.hub.database)
    feed = EventFeed(database)
    async with AsyncExitStack() as stack:
        subscriptions = [
            stack.enter_context(feed.subscribe(lambda _event: True)) for _ in range(50)
        ]
        await feed.turn()
        database.reads = 0
        for _ in range(5):
            await feed.turn()
        assert database.reads == 5
        await append(lab.hub.database, "a", "b")
        await feed.turn()
        assert database.reads == 6
        for subscription in subscriptions:
            batch = await subscription.take(10, 0.0)
            assert [named.event.kind for named in batch] == ["a", "b"]


async def test_nobody_follows_and_nothing_is_read(lab):
    database = Counting(lab.hub.database)
    await EventFeed(database).turn()
    assert database.reads == 0


async def test_followers_get_the_past_then_what_comes_each_what_concerns_it(lab):
    hub = lab.hub
    await append(hub.database, "past", site_id="s1")
    async with Following(hub) as every, Following(hub, EventFilter(site_id="s1")) as of_site:
        await until(lambda: "past" in every.kinds and "past" in of_site.kinds)
        for number in range(30):
            await append(hub.database, f"now.{number}", site_id=f"s{number % 2}")
        expected = [f"now.{number}" for number in range(30)]
        await until(lambda: every.kinds[-30:] == expected)
        await until(lambda: of_site.kinds == ["past", *expected[1::2]])


async def test_a_follower_sees_only_what_it_may_read(lab):
    hub = lab.hub
    scope = Scope(ScopeKind.SITE, "s1")
    who = principal("ada", granted(scope, Permission.READ))
    await append(hub.database, "past.hub")
    await append(hub.database, "past.s1", site_id="s1")
    async with Following(hub, who=who) as of_site:
        await until(lambda: of_site.kinds)
        await append(hub.database, "now.s2", site_id="s2")
        await append(hub.database, "now.s1", site_id="s1")
        await until(lambda: of_site.kinds == ["past.s1", "now.s1"])


async def test_a_follower_that_comes_back_goes_on_after_the_last_event_it_got(lab):
    hub = lab.hub
    async with Following(hub):
        await append(hub.database, "one", "two", "three")
        three = await newest(hub)
        for missed in range(3):
            async with Following(hub, after_id=three.id - missed) as again:
                await until(
                    lambda again=again, missed=missed: (
                        again.kinds == ["one", "two", "three"][3 - missed :]
                    )
                )
        async with Following(hub, after_id=three.id) as again:
            await append(hub.database, "four")
            await until(lambda: again.kinds == ["four"])


async def newest(hub):
    async with hub.database.read() as db:
        (event,) = await event_store.list_page(db, limit=1, newest_first=True)
    return event


async def test_a_slow_follower_is_dropped_and_the_others_go_on(lab):
    feed = lab.hub.event_feed
    with feed.subscribe(lambda _event: True) as slow:
        async with Following(lab.hub) as quick:
            await append(lab.hub.database, "first")
            await until(lambda: quick.kinds)
            for _ in range(4):
                await append(lab.hub.database, *["burst"] * (event_feed.QUEUE_COUNT // 4))
            await append(lab.hub.database, "last")
            await until(lambda: quick.kinds[-1] == "last")
            assert quick.error is None
        with pytest.raises(FollowerTooSlow):
            await slow.take(10, 0.0)


async def test_events_of_another_replica_come_by_the_poll(lab):
    """Its commits wake its own reader alone."""
    url = f"sqlite:///{lab.hub.database._url.database}"
    other = open_database(url, instruments=Instruments())
    try:
        async with Following(lab.hub) as follower:
            await until(lambda: follower.kinds is not None)
            await append(other, "from.afar")
            await until(lambda: "from.afar" in follower.kinds)
    finally:
        await other.dispose()


async def test_own_events_wake_the_reader_and_a_rollback_does_not(tmp_path):
    appended = asyncio.Event()
    database = open_database(f"sqlite:///{tmp_path / 'hub.db'}", appended=appended)
    await database.migrate()
    try:
        async with database.begin():
            pass
        with pytest.raises(RuntimeError):
            await _fail_after_append(database)
        assert not appended.is_set()
        await append(database, "kind")
        assert appended.is_set()
    finally:
        await database.dispose()


async def _fail_after_append(database):
    async with database.begin() as db:
        await event_store.append(db, an_event("kind"))
        raise RuntimeError


async def test_an_outage_of_the_database_delays_events_and_loses_none(lab):
    database = Counting(lab.hub.database)
    feed = EventFeed(database)
    with feed.subscribe(lambda _event: True) as subscription:
        await feed.turn()
        database.is_away = True
        await append(lab.hub.database, "meanwhile")
        await feed.turn()
        assert await subscription.take(10, 0.0) == ()
        database.is_away = False
        await feed.turn()
        async with time_limit():
            batch = await subscription.take(10, 1.0)
        assert [named.event.kind for named in batch] == ["meanwhile"]


async def test_the_ring_reaches_back_only_to_what_it_read(lab):
    feed = EventFeed(lab.hub.database)
    with feed.subscribe(lambda _event: True):
        await feed.turn()
        start = await feed.position()
        await append(lab.hub.database, "one", "two")
        await feed.turn()
        assert [named.event.kind for named in feed.recent(start)] == ["one", "two"]
        assert feed.recent(start + 2) == ()
        assert feed.recent(start - 1) is None
    assert feed.recent(start) is None, "nobody follows: there may be gaps"
