"""Federations, participants, documents and statuses."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from tests.contract.store.rows import (
    NOW,
    SECOND,
    a_document,
    a_federation,
    a_participant,
    a_site,
    a_status,
    populate,
)
from tests.support.patience import time_limit

from fedcore.errors import Conflict, NotFound
from fedcore.words import Phase
from fedhub.domain.access import EVERYTHING
from fedhub.domain.phases import SiteState
from fedhub.store import documents, federations, participants, sites, statuses
from fedproto.agent.v1 import document_pb2
from fedsql.engine import Database


async def test_a_federation_comes_back_as_it_was_stored(database: Database) -> None:
    async with database.begin() as db:
        await federations.add(db, a_federation())
        await federations.lock(db, "fed-credit")
        assert await federations.get(db, "fed-credit") == a_federation()
        assert await federations.by_name(db, "credit") == a_federation()
        assert await federations.by_name(db, "other") is None
        changed = await federations.update(
            db, "fed-credit", revision=2, intent={"b": 1, "a": [None]}, removing=True
        )
        assert changed == a_federation(revision=2, intent={"b": 1, "a": [None]}, removing=True)
        assert await federations.all(db) == (changed,)
        await federations.delete(db, "fed-credit")
        assert await federations.find(db, "fed-credit") is None
        with pytest.raises(NotFound):
            await federations.get(db, "fed-credit")


async def test_a_locked_federation_is_read_as_the_holder_left_it(database: Database) -> None:
    await populate(database)
    locked, read_before = asyncio.Event(), asyncio.Event()

    async def first() -> None:
        async with database.begin() as db:
            await federations.lock(db, "fed-credit")
            locked.set()
            if not database.is_sqlite:
                await read_before.wait()
            await federations.update(db, "fed-credit", revision=2)

    async def second() -> int:
        await locked.wait()
        async with database.begin() as db:
            await federations.get(db, "fed-credit")
            read_before.set()
            await federations.lock(db, "fed-credit")
            return (await federations.get(db, "fed-credit")).revision

    async with time_limit():
        _, revision = await asyncio.gather(first(), second())
    assert revision == 2


async def test_federations_are_paged_by_name(database: Database) -> None:
    async with database.begin() as db:
        for name in ("c", "a", "b"):
            await federations.add(db, a_federation(name))
        first = await federations.list_page(db, EVERYTHING, cursor=None, limit=2)
        rest = await federations.list_page(db, EVERYTHING, cursor=first.next_cursor, limit=2)
    assert [one.name for one in first.items + rest.items] == ["a", "b", "c"]
    assert rest.next_cursor is None


async def test_a_federation_with_participants_stays(database: Database) -> None:
    await populate(database, 9999)
    with pytest.raises(Conflict):
        async with database.begin() as db:
            await federations.delete(db, "fed-credit")


async def test_participants_are_found_by_all_that_owns_them(database: Database) -> None:
    await populate(database, 10000, 9999, 0)
    async with database.read() as db:
        assert await participants.find(db, "p-9999") == a_participant(9999)
        assert await participants.find(db, "p-1") is None
        members = await participants.of_federation(db, "fed-credit")
        assert [one.key for one in members] == ["exchange", "9999", "10000"]
        assert len(await participants.of_site(db, "site-alpha")) == 3
        assert await participants.of_site(db, "site-beta") == ()
        assert await participants.site_of_resource(db, "p-9999") == "site-alpha"
        assert await participants.site_of_resource(db, "p-1") is None
        places = await participants.sites_of_resources(db, ["p-0", "p-1", "p-9999"])
        assert places == {"p-0": "site-alpha", "p-9999": "site-alpha"}


async def test_a_participant_changes_and_goes(database: Database) -> None:
    await populate(database, 9999)
    async with database.begin() as db:
        changed = await participants.update(
            db, "p-9999", removing=True, waiting_reason="NoExchange", waiting_message="wait"
        )
        assert changed == a_participant(
            removing=True, waiting_reason="NoExchange", waiting_message="wait"
        )
        await participants.delete(db, "p-9999")
        assert await participants.of_federation(db, "fed-credit") == ()


async def test_a_row_shows_what_is_planned_and_what_was_reported(database: Database) -> None:
    await populate(database, 9999, 10000)
    async with database.begin() as db:
        await sites.update(db, "site-alpha", simulated=True)
        await documents.put(db, a_document(), NOW)
        await statuses.put(db, a_status())
    async with database.read() as db:
        shown = await participants.row_by_name(db, "credit/9999")
        assert await participants.row_by_name(db, "p-9999") == shown
        bare = await participants.row_by_name(db, "credit/10000")
        assert await participants.row_by_name(db, "credit/1") is None
    assert shown is not None
    assert bare is not None
    assert (shown.federation, shown.site, shown.site_simulated) == ("credit", "alpha", True)
    assert shown.site_state is SiteState.INVITED
    assert (shown.generation, shown.absent, shown.observed_generation) == (1, False, 1)
    assert (shown.phase, shown.reason, shown.since) == (Phase.READY, "AllReady", NOW)
    assert shown.reported_at == NOW + SECOND
    assert (bare.phase, bare.generation, bare.absent, bare.since) == (None, None, False, None)


async def test_of_two_rows_of_one_name_the_one_that_stays_is_shown(database: Database) -> None:
    await populate(database, 9999)
    moved = a_participant(id="p-2", namespace="elsewhere")
    async with database.begin() as db:
        await participants.add(db, moved)
        await participants.update(db, "p-2", removing=True)
        shown = await participants.row_by_name(db, "credit/9999")
        assert shown is not None
        assert shown.id == "p-9999"
        await participants.update(db, "p-9999", removing=True)
        await participants.update(db, "p-2", removing=False)
        shown = await participants.row_by_name(db, "credit/9999")
        assert shown is not None
        assert shown.id == "p-2"


async def test_participants_are_paged_federation_by_federation_the_exchange_first(
    database: Database,
) -> None:
    await populate(database, 20, 0, 100, 3)
    async with database.begin() as db:
        await federations.add(db, a_federation("alone"))
        await sites.add(db, a_site("beta"))
        other = a_participant(7, federation_id="fed-alone", site_id="site-beta", name="alone/7")
        await participants.add(db, other)
        await documents.put(db, a_document("p-3"), NOW)
        await documents.put(db, a_document("p-7", site_id="site-beta"), NOW)
        await statuses.put(db, a_status("p-3", phase=Phase.FAILED))
        await statuses.put(db, a_status("p-7", phase=Phase.READY))
    async with database.read() as db:
        names: list[str] = []
        cursor = None
        while True:
            page = await participants.list_page(db, EVERYTHING, cursor=cursor, limit=2)
            names += [row.name for row in page.items]
            cursor = page.next_cursor
            if cursor is None:
                break
        assert names == ["alone/7", "credit/exchange", "credit/3", "credit/20", "credit/100"]

        async def keys(**wanted: object) -> list[str]:
            page = await participants.list_page(db, EVERYTHING, cursor=None, limit=10, **wanted)
            return [row.key for row in page.items]

        assert await keys(federation_id="fed-alone") == ["7"]
        assert await keys(site_id="site-beta") == ["7"]
        assert await keys(phase=Phase.FAILED) == ["3"]
        assert await keys(phase=Phase.READY, federation_id="fed-credit") == []
        assert await keys(phase=Phase.DRAFT) == ["exchange", "20", "100"]


async def test_pages_stay_right_while_rows_come_and_go(database: Database) -> None:
    await populate(database, 1, 2, 3, 4)
    async with database.begin() as db:
        first = await participants.list_page(db, EVERYTHING, cursor=None, limit=2)
        await participants.delete(db, "p-1")
        await participants.delete(db, "p-2")
        rest = await participants.list_page(db, EVERYTHING, cursor=first.next_cursor, limit=5)
    assert [row.key for row in rest.items] == ["3", "4"]


async def test_a_document_gets_a_generation_for_each_difference_only(database: Database) -> None:
    await populate(database)
    async with database.begin() as db:
        first = await documents.put(db, a_document(), NOW)
        again = await documents.put(db, a_document(), NOW + SECOND)
        other = await documents.put(db, a_document(digest="d2"), NOW + SECOND)
        gone = await documents.put(db, a_document(digest="d2", absent=True), NOW + SECOND)
    assert first.generation == 1
    assert again == first
    assert (other.generation, other.digest, other.updated_at) == (2, "d2", NOW + SECOND)
    assert (gone.generation, gone.absent) == (3, True)
    spec = document_pb2.ParticipantSpec.FromString(first.spec_bytes)
    assert spec == a_document().spec
    async with database.read() as db:
        assert await documents.get(db, "p-9999") == gone
        assert await documents.of_site(db, "site-alpha") == (gone,)
        assert await documents.of_resources(db, ["p-9999", "p-1"]) == {"p-9999": gone}
        assert await documents.of_resources(db, []) == {}


async def test_the_same_change_planned_twice_at_once_is_one_generation(database: Database) -> None:
    await populate(database)

    async def put() -> int:
        async with database.begin() as db:
            return (await documents.put(db, a_document(digest="d2"), NOW)).generation

    async with database.begin() as db:
        await documents.put(db, a_document(), NOW)
    assert await asyncio.gather(*(put() for _ in range(8))) == [2] * 8


async def test_many_documents_are_put_as_one_by_one(database: Database) -> None:
    await populate(database)
    planned = [a_document(f"p-{number}") for number in range(5)]
    async with database.begin() as db:
        before = await documents.put_all(db, planned, {}, NOW)
        planned[3] = replace(planned[3], digest="d2")
        stored = await documents.put_all(db, planned, before, NOW + SECOND)
        assert [stored[one.resource_id].generation for one in planned] == [1, 1, 1, 2, 1]
        assert await documents.of_resources(db, list(stored)) == stored


async def test_which_resources_have_a_document_is_told_without_bodies(database: Database) -> None:
    await populate(database)
    async with database.begin() as db:
        await documents.put(db, a_document(), NOW)
        assert await documents.existing(db, ["p-9999", "p-1"]) == {"p-9999"}
        assert await documents.existing(db, []) == frozenset()


async def test_the_poll_sees_the_generations_at_the_sites_that_it_names(database: Database) -> None:
    await populate(database)
    async with database.begin() as db:
        await sites.add(db, a_site("beta"))
        await sites.add(db, a_site("gamma"))
        await documents.put(db, a_document("p-1"), NOW)
        await documents.put(db, a_document("p-2"), NOW + SECOND)
        await documents.put(db, a_document("p-3", site_id="site-beta"), NOW + SECOND)
        wanted = ["site-alpha", "site-gamma"]
        assert await documents.generations_of_sites(db, wanted) == {
            "site-alpha": {"p-1": 1, "p-2": 1}
        }
        assert await documents.generations_of_sites(db, []) == {}
        many = [f"site-{number}" for number in range(40_000)]
        assert await documents.generations_of_sites(db, [*many, "site-beta"]) == {
            "site-beta": {"p-3": 1}
        }


async def test_a_status_replaces_the_one_before(database: Database) -> None:
    await populate(database)
    async with database.begin() as db:
        await statuses.put(db, a_status())
        assert await statuses.get(db, "p-9999") == a_status()
        worse = a_status(phase=Phase.DEGRADED, message="pulsar-0 crashed", since=NOW + SECOND)
        await statuses.put(db, worse)
        assert await statuses.of_resources(db, ["p-9999", "p-1"]) == {"p-9999": worse}
        assert await statuses.of_resources(db, []) == {}
        await statuses.delete(db, "p-9999")
        assert await statuses.get(db, "p-9999") is None


async def test_text_of_a_site_that_no_database_holds_is_mended(database: Database) -> None:
    await populate(database)
    async with database.begin() as db:
        await statuses.put(db, a_status(message="a\x00b", reason="\x00"))
        stored = await statuses.get(db, "p-9999")
    assert stored is not None
    assert (stored.message, stored.reason) == ("a\ufffdb", "\ufffd")
