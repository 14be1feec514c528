"""What only PostgreSQL can do wrong: go away, lock crosswise, refuse a character."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
from sqlalchemy import text
from tests.contract.store.rows import (
    NOW,
    a_site,
    an_event,
    populate,
    put_setting,
    setting,
    spooled,
)
from tests.support.patience import time_limit
from tests.support.postgres import PostgresCluster, postgres_database, running_postgres

from fedcore.errors import Invalid, Unavailable
from fedhub.store import agent_sessions, documents, events, federations, sites
from fedsql.engine import Database

pytestmark = pytest.mark.postgres


@pytest.fixture
async def database(postgres_cluster: PostgresCluster) -> AsyncIterator[Database]:
    async with postgres_database(postgres_cluster) as opened:
        yield opened


@pytest.fixture(scope="module")
def own_cluster() -> Iterator[PostgresCluster]:
    """A server that may be stopped: no other test uses it."""
    with running_postgres() as cluster:
        yield cluster


async def test_an_outage_is_unavailable_and_ends_by_itself(own_cluster: PostgresCluster) -> None:
    async with postgres_database(own_cluster) as database:
        async with database.begin() as db:
            await put_setting(db, "before", "1")
        # Several pooled connections, all of which will be broken.
        await asyncio.gather(*(database.ping() for _ in range(5)))
        own_cluster.stop(crash=True)
        for attempt in (database.ping(), _write(database), _read(database), database.migrate()):
            with pytest.raises(Unavailable):
                await attempt
        own_cluster.start()
        await database.ping()
        async with database.begin() as db:
            assert await setting(db, "before") == "1"
            assert await setting(db, "during") is None


async def _write(database: Database) -> None:
    async with database.begin() as db:
        await put_setting(db, "during", "1")


async def _read(database: Database) -> None:
    async with database.read() as db:
        await setting(db, "before")


async def test_a_transaction_cut_in_the_middle_stores_nothing(
    own_cluster: PostgresCluster,
) -> None:
    async with postgres_database(own_cluster) as database:
        with pytest.raises(Unavailable):
            async with database.begin() as db:
                await sites.add(db, a_site())
                await events.append(db, an_event())
                own_cluster.stop(crash=True)
        own_cluster.start()
        async with database.read() as db:
            assert await sites.all(db) == ()
            assert await events.list_page(db, limit=9) == ()


async def test_a_connection_killed_while_idle_is_not_noticed_by_callers(
    database: Database, postgres_cluster: PostgresCluster
) -> None:
    await database.ping()
    postgres_cluster.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'fedhub'"
    )
    await database.ping()


async def test_a_deadlock_is_unavailable_for_one_and_success_for_the_other(
    database: Database,
) -> None:
    async with database.begin() as db:
        await db.execute(text("SELECT 1"))
        for name in ("a", "b"):
            await put_setting(db, name, "0")
    both = asyncio.Barrier(2)

    async def cross(first: str, second: str) -> None:
        async with database.begin() as db:
            await db.execute(text("SET LOCAL deadlock_timeout = '50ms'"))
            await put_setting(db, first, "1")
            await both.wait()
            await put_setting(db, second, "1")

    outcomes = await asyncio.gather(cross("a", "b"), cross("b", "a"), return_exceptions=True)
    assert sorted(type(one) for one in outcomes if one) == [Unavailable]


async def test_appending_events_before_another_lock_cannot_deadlock(database: Database) -> None:
    """A report records its event and then locks the federation; an apply does it the other way."""
    await populate(database)
    both = asyncio.Barrier(2)

    async def report() -> None:
        async with database.begin() as db:
            await events.append(db, an_event("report"))
            await both.wait()
            await federations.lock(db, "fed-credit")

    async def apply() -> None:
        async with database.begin() as db:
            await federations.lock(db, "fed-credit")
            await both.wait()
            await events.append(db, an_event("apply"))

    async with time_limit():
        await asyncio.gather(report(), apply())
    async with database.read() as db:
        assert len(await events.list_page(db, limit=9)) == 2


async def test_a_late_commit_is_not_overtaken_by_a_higher_id(database: Database) -> None:
    """The slow one has written its events; the quick one must not be visible before it."""
    written, go_on = asyncio.Event(), asyncio.Event()

    async def slow() -> None:
        async with database.sessions() as db:
            await events.append(db, an_event("slow"))
            # What a commit does, with time to look in between.
            await db.run_sync(lambda session: session.dispatch.before_commit(session))
            written.set()
            await go_on.wait()
            await db.commit()

    async def quick() -> None:
        await written.wait()
        async with database.begin() as db:
            await events.append(db, an_event("quick"))

    async with time_limit(), asyncio.TaskGroup() as group:
        group.create_task(slow())
        group.create_task(quick())
        await written.wait()
        for _ in range(5):
            async with database.read() as db:
                assert await events.list_page(db, limit=9) == ()
        go_on.set()
    async with database.read() as db:
        found = await events.list_page(db, limit=9)
    assert [event.kind for event in found] == ["slow", "quick"]


async def test_a_new_session_waits_for_what_the_old_one_is_storing(database: Database) -> None:
    """The fence holds until the commit: what passed it is stored before the epoch rises."""
    await populate(database)
    checked, order = asyncio.Event(), []

    async def opened() -> int:
        async with database.begin() as db:
            names = {"site_id": "site-alpha", "replica_id": "r", "session_id": "s"}
            return await agent_sessions.open(
                db, agent_id="agent-1", instance_id="i", cluster_uid="c", at=NOW, **names
            )

    async def store() -> None:
        async with database.begin() as db:
            await agent_sessions.check_epoch(db, "agent-1", 1)
            checked.set()
            await asyncio.sleep(0.05)
            await events.append_from_agent(db, "agent-1", "spool-1", spooled(1))
        order.append("stored")

    async def take_over() -> None:
        await checked.wait()
        assert await opened() == 2
        order.append("opened")

    assert await opened() == 1
    await asyncio.gather(store(), take_over())
    assert order == ["stored", "opened"]


@pytest.mark.parametrize("name", ["a\x00b", "\ud800"])
async def test_text_that_cannot_be_stored_is_invalid(database: Database, name: str) -> None:
    with pytest.raises(Invalid):
        async with database.begin() as db:
            await sites.by_name(db, name)


async def test_a_number_that_cannot_be_stored_is_invalid(database: Database) -> None:
    with pytest.raises(Invalid):
        async with database.begin() as db:
            await sites.add(db, a_site(node_count=2**70))


async def test_reads_are_of_one_moment_and_refuse_to_write(database: Database) -> None:
    async with database.read() as db:
        assert await db.scalar(text("SHOW transaction_isolation")) == "repeatable read"
        assert await db.scalar(text("SHOW transaction_read_only")) == "on"
    async with database.begin() as db:
        assert await db.scalar(text("SHOW transaction_isolation")) == "read committed"
        assert await db.scalar(text("SHOW transaction_read_only")) == "off"


async def test_the_notifiers_poll_reads_no_bodies(database: Database) -> None:
    await populate(database)
    async with database.begin() as db:
        assert await documents.generations_of_sites(db, ["site-alpha"]) == {}
        await db.execute(text("SET LOCAL enable_seqscan = off"))
        plan = await db.execute(
            text(
                "EXPLAIN SELECT site_id, resource_id, generation FROM documents"
                " WHERE site_id = ANY(ARRAY['a', 'b'])"
            )
        )
        assert "ix_documents_site_id_resource_id_generation" in "\n".join(r[0] for r in plan)
