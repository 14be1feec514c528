"""Sites, endpoints and the sessions of agents."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from tests.contract.store.rows import (
    NOW,
    SECOND,
    a_document,
    a_participant,
    a_site,
    a_status,
    an_endpoint,
    populate,
)

from fedcore.errors import Conflict, ErrorCode, FedError, Invalid, NotFound
from fedhub.domain.access import EVERYTHING
from fedhub.domain.phases import SITE_TRANSITIONS, SiteState
from fedhub.store import (
    agent_sessions,
    documents,
    endpoints,
    participants,
    replicas,
    sites,
    statuses,
)
from fedsql.engine import Database


async def test_a_site_comes_back_as_it_was_stored(database: Database) -> None:
    full = a_site(agent_id="a-1", node_count=3, simulated=True, last_seen_at=NOW)
    async with database.begin() as db:
        await sites.add(db, full)
    async with database.read() as db:
        assert await sites.get(db, full.id) == full
        assert await sites.by_name(db, "alpha") == full
        assert await sites.by_name(db, "beta") is None
        assert await sites.names(db) == {full.id: "alpha"}
        with pytest.raises(NotFound):
            await sites.get(db, "nowhere")


async def test_columns_of_a_site_change_one_by_one(database: Database) -> None:
    async with database.begin() as db:
        await sites.add(db, a_site())
        changed = await sites.update(db, "site-alpha", findings=(), agent_version="1.2")
    assert changed == a_site(findings=(), agent_version="1.2")
    with pytest.raises(NotFound):
        async with database.begin() as db:
            await sites.update(db, "nowhere", agent_version="1.2")


@pytest.mark.parametrize("old", list(SiteState))
async def test_a_site_moves_only_where_the_transitions_lead(
    database: Database, old: SiteState
) -> None:
    for new in SiteState:
        async with database.begin() as db:
            await sites.add(db, a_site(f"to-{new.value.lower()}", state=old))
            name = f"site-to-{new.value.lower()}"
            moved = await sites.set_state(db, name, new, NOW + SECOND)
            after = await sites.get(db, name)
        assert moved == (new in SITE_TRANSITIONS[old])
        expected = (new, NOW + SECOND) if moved else (old, NOW)
        assert (after.state, after.state_since) == expected


async def test_sites_are_paged_by_name_and_by_state(database: Database) -> None:
    names = [f"s-{number:02}" for number in range(7)] + ["s0"]
    async with database.begin() as db:
        for name in reversed(names):
            state = SiteState.ONLINE if name.endswith("3") else SiteState.INVITED
            await sites.add(db, a_site(name, state=state))
    async with database.read() as db:
        pages, cursor = [], None
        while True:
            page = await sites.list_page(db, EVERYTHING, cursor=cursor, limit=3)
            pages.append([site.name for site in page.items])
            cursor = page.next_cursor
            if cursor is None:
                break
        # By code point, as Python sorts: '-' comes before '0' on both databases.
        assert [name for page in pages for name in page] == sorted(names)
        assert [len(page) for page in pages] == [3, 3, 2]
        online = await sites.list_page(
            db, EVERYTHING, cursor=None, limit=10, state=SiteState.ONLINE
        )
        assert [site.name for site in online.items] == ["s-03"]
        with pytest.raises(Invalid):
            await sites.list_page(db, EVERYTHING, cursor="nonsense", limit=3)
        with pytest.raises(Invalid):
            await sites.list_page(db, EVERYTHING, cursor=None, limit=0)


async def test_a_site_takes_its_documents_along_but_not_its_participants(
    database: Database,
) -> None:
    await populate(database, 9999)
    async with database.begin() as db:
        await documents.put(db, a_document(), NOW)
        await statuses.put(db, a_status())
        await open_session(db)
    with pytest.raises(Conflict):
        async with database.begin() as db:
            await sites.delete(db, "site-alpha")
    async with database.begin() as db:
        await participants.delete(db, "p-9999")
        await sites.delete(db, "site-alpha")
        assert await documents.get(db, "p-9999") is None
        assert await statuses.get(db, "p-9999") is None
        assert await agent_sessions.get(db, "agent-1") is None


async def test_a_site_has_one_endpoint(database: Database) -> None:
    async with database.begin() as db:
        await sites.add(db, a_site())
        await endpoints.add(db, an_endpoint())
        assert await endpoints.by_site(db, "site-alpha") == an_endpoint()
        assert await endpoints.by_site(db, "site-beta") is None
        changed = await endpoints.update(db, an_endpoint().id, removing=True)
        assert changed == an_endpoint(removing=True)
        assert await endpoints.all(db) == (changed,)
        assert (await endpoints.list_page(db, EVERYTHING, cursor=None, limit=1)).items == (changed,)
        assert await participants.site_of_resource(db, changed.id) == "site-alpha"
    with pytest.raises(Conflict):
        async with database.begin() as db:
            await endpoints.add(db, an_endpoint(id="second"))
    async with database.begin() as db:
        await endpoints.delete(db, an_endpoint().id)
        assert await endpoints.find(db, an_endpoint().id) is None
        with pytest.raises(NotFound):
            await endpoints.update(db, an_endpoint().id, removing=False)


async def open_session(db, agent_id: str = "agent-1", at: datetime = NOW, **changes: str) -> int:
    names = {"site_id": "site-alpha", "replica_id": "hub-1", "session_id": "s", "instance_id": "i"}
    return await agent_sessions.open(
        db, agent_id=agent_id, cluster_uid="c", at=at, **names | changes
    )


async def test_each_session_has_the_next_epoch_and_replaces_the_one_before(
    database: Database,
) -> None:
    async with database.begin() as db:
        await sites.add(db, a_site())
        assert await agent_sessions.get(db, "agent-1") is None
        assert await open_session(db) == 1
        assert await open_session(db, at=NOW + SECOND, session_id="t") == 2
        newest = await agent_sessions.get(db, "agent-1")
    assert newest is not None
    assert (newest.epoch, newest.session_id, newest.connected) == (2, "t", True)
    assert newest.connected_at == NOW + SECOND


async def test_of_twenty_sessions_at_once_each_has_its_own_epoch(database: Database) -> None:
    async with database.begin() as db:
        await sites.add(db, a_site())

    async def opened() -> int:
        async with database.begin() as db:
            return await open_session(db)

    epochs = await asyncio.gather(*(opened() for _ in range(20)))
    assert sorted(epochs) == list(range(1, 21))


async def test_only_the_newest_epoch_passes(database: Database) -> None:
    async with database.begin() as db:
        await sites.add(db, a_site())
        await open_session(db)
        await open_session(db)
        await agent_sessions.check_epoch(db, "agent-1", 2)
        for epoch, agent in ((1, "agent-1"), (3, "agent-1"), (1, "nobody")):
            with pytest.raises(FedError) as refused:
                await agent_sessions.check_epoch(db, agent, epoch)
            assert refused.value.code is ErrorCode.FENCED


async def test_an_old_session_cannot_close_the_newer_one(database: Database) -> None:
    async with database.begin() as db:
        await sites.add(db, a_site())
        await open_session(db)
        await open_session(db)
        assert not await agent_sessions.close(db, "agent-1", 1, NOW + SECOND)
        assert await agent_sessions.close(db, "agent-1", 2, NOW + SECOND)
        assert not await agent_sessions.close(db, "agent-1", 2, NOW + 2 * SECOND)
        closed = await agent_sessions.get(db, "agent-1")
    assert closed is not None
    assert (closed.connected, closed.last_seen_at) == (False, NOW + SECOND)


async def test_heartbeats_are_flushed_together_and_fenced(database: Database) -> None:
    later = NOW + timedelta(seconds=30, microseconds=7)
    async with database.begin() as db:
        for number in range(3):
            await sites.add(db, a_site(f"s{number}", agent_id=f"agent-{number}"))
            await open_session(db, f"agent-{number}", site_id=f"site-s{number}")
        await open_session(db, "agent-1", site_id="site-s1")
        await agent_sessions.flush_heartbeats(
            db, [(f"agent-{number}", 1, later) for number in range(3)] + [("nobody", 1, later)]
        )
        await agent_sessions.flush_heartbeats(db, [])
        seen = [(await sites.get(db, f"site-s{number}")).last_seen_at for number in range(3)]
    assert seen == [later, NOW, later]


async def test_a_lapsed_lease_names_the_site_once_it_is_silent(database: Database) -> None:
    async with database.begin() as db:
        for number, state in enumerate(
            [SiteState.ONLINE, SiteState.DISCONNECTED, SiteState.OFFLINE, SiteState.REVOKED]
        ):
            name = f"s{number}"
            await sites.add(db, a_site(name, state=state, agent_id=f"agent-{number}"))
            await open_session(db, f"agent-{number}", site_id=f"site-{name}")
        assert await agent_sessions.lapsed(db, NOW) == ()
        assert await agent_sessions.lapsed(db, NOW + SECOND) == ("site-s0", "site-s1")
        await agent_sessions.flush_heartbeats(db, [("agent-0", 1, NOW + SECOND)])
        assert await agent_sessions.lapsed(db, NOW + SECOND) == ("site-s1",)


async def test_a_former_agent_of_a_site_does_not_count(database: Database) -> None:
    async with database.begin() as db:
        await sites.add(db, a_site(state=SiteState.ONLINE, agent_id="agent-2"))
        await open_session(db, "agent-1")
        await open_session(db, "agent-2", at=NOW + 9 * SECOND)
        assert await agent_sessions.lapsed(db, NOW + SECOND) == ()
        assert (await sites.get(db, "site-alpha")).last_seen_at == NOW + 9 * SECOND
        assert len(await sites.all(db)) == 1


async def test_sessions_of_a_dead_hub_process_are_released(database: Database) -> None:
    async with database.begin() as db:
        await sites.add(db, a_site())
        await open_session(db, "agent-1", replica_id="hub-1")
        await open_session(db, "agent-2", replica_id="hub-2")
        await replicas.heartbeat(db, "hub-1", NOW)
        await replicas.heartbeat(db, "hub-2", NOW)
        await replicas.heartbeat(db, "hub-2", NOW + 9 * SECOND)
        assert await replicas.silent(db, NOW + SECOND) == ("hub-1",)
        assert await agent_sessions.of_replica(db, "hub-1") == ("agent-1",)
        assert await agent_sessions.release(db, "hub-1") == ("site-alpha",)
        assert await agent_sessions.release(db, "hub-1") == ()
        await replicas.forget(db, "hub-1")
        assert await replicas.silent(db, NOW + SECOND) == ()
        assert await agent_sessions.of_replica(db, "hub-1") == ()
        released = await agent_sessions.get(db, "agent-1")
    assert released is not None
    assert replace(released, connected=True).last_seen_at == NOW


async def test_a_thousand_sessions_flush_in_one_statement(database: Database) -> None:
    later = NOW + SECOND
    async with database.begin() as db:
        await sites.add(db, a_site())
        for number in range(1_000):
            await open_session(db, f"agent-{number}")
        await agent_sessions.flush_heartbeats(db, [(f"agent-{n}", 1, later) for n in range(1_000)])
        last = await agent_sessions.get(db, "agent-999")
    assert last is not None
    assert last.last_seen_at == later


async def test_a_namespace_at_a_site_holds_one_participant(database: Database) -> None:
    await populate(database, 9999)
    with pytest.raises(Conflict):
        async with database.begin() as db:
            await participants.add(db, a_participant(10000, namespace="fate-9999"))
