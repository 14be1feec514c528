"""Operations, events, charts, certificates, tokens and kept answers."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select
from tests.contract.store.rows import (
    NOW,
    SECOND,
    a_certificate,
    a_chart,
    an_event,
    an_operation,
    spooled,
)
from tests.support.patience import time_limit

from fedcore.errors import Conflict, NotFound
from fedhub.domain.access import EVERYTHING, Grant, Permission, Principal, PrincipalKind, Visibility
from fedhub.domain.models import OperationTarget
from fedhub.domain.phases import OperationState
from fedhub.store import certificates, charts, events, idempotency, operations, tokens
from fedhub.store.tables import EventTable, table_of
from fedhub.store.visibility import is_visible
from fedsql.engine import Database

TARGETS = (OperationTarget("p-1", 2), OperationTarget("p-2", 1, done=True))


async def test_an_operation_comes_back_with_its_targets(database: Database) -> None:
    async with database.begin() as db:
        await operations.add(db, an_operation(1, *TARGETS))
        await operations.add(db, an_operation(2))
        assert await operations.get(db, "op-0001") == an_operation(1, *TARGETS)
        assert await operations.get(db, "op-0002") == an_operation(2)
        with pytest.raises(NotFound):
            await operations.get(db, "op-0003")


async def test_targets_are_marked_and_replaced(database: Database) -> None:
    async with database.begin() as db:
        await operations.add(db, an_operation(1, *TARGETS))
        await operations.mark_target(db, "op-0001", "p-1", done=True)
        await operations.replace_target(db, "op-0001", OperationTarget("p-2", 5))
        await operations.replace_target(db, "op-0001", OperationTarget("p-3", 1, name="credit/3"))
        stored = await operations.get(db, "op-0001")
    assert stored.targets == (
        OperationTarget("p-1", 2, done=True),
        OperationTarget("p-2", 5),
        OperationTarget("p-3", 1, name="credit/3"),
    )
    async with database.read() as db:
        assert await operations.names_of(db, ["p-1", "p-3", "p-4"]) == {"p-3": "credit/3"}
        assert await operations.resources_called(db, "credit/3") == {"p-3"}
        assert await operations.resources_called(db, "credit/4") == frozenset()
        assert await operations.federation_ids_for_name(db, "credit") == {"fed-credit"}


async def test_open_operations_are_found_by_their_targets_until_they_end(
    database: Database,
) -> None:
    async with database.begin() as db:
        for number in (1, 2):
            await operations.add(db, an_operation(number, *TARGETS))
        await operations.add(db, an_operation(3, state=OperationState.STALLED))
        assert [one.id for one in await operations.open_all(db)] == [
            "op-0001",
            "op-0002",
            "op-0003",
        ]
        await operations.update(
            db, "op-0001", state=OperationState.FAILED, message="no", ended_at=NOW
        )
        assert await operations.open_targets(db, "p-1") == (("op-0002", TARGETS[0]),)
        assert await operations.open_targets(db, "p-9") == ()
        ended = await operations.get(db, "op-0001")
    assert (ended.state, ended.message, ended.ended_at) == (OperationState.FAILED, "no", NOW)


async def test_operations_are_paged_newest_first(database: Database) -> None:
    async with database.begin() as db:
        for number in range(1, 6):
            await operations.add(db, an_operation(number, *TARGETS, created_at=NOW))
        await operations.add(db, an_operation(6, federation_id=None))
        first = await operations.list_page(db, EVERYTHING, cursor=None, limit=4)
        rest = await operations.list_page(db, EVERYTHING, cursor=first.next_cursor, limit=4)
        ids = [int(one.id[-1]) for one in first.items + rest.items]
        assert ids == [6, 5, 4, 3, 2, 1]
        assert rest.items[0].targets == TARGETS
        some = await operations.list_page(
            db,
            EVERYTHING,
            federation_id="fed-credit",
            state=OperationState.RUNNING,
            cursor=None,
            limit=9,
        )
        assert len(some.items) == 5


async def test_events_have_one_order_and_are_read_from_a_position_on(database: Database) -> None:
    async with database.begin() as db:
        for number in range(3):
            await events.append(db, an_event(f"kind.{number}", actor="admin"))
    async with database.begin() as db:
        await events.append(db, an_event("kind.3", site_id=None))
    async with database.read() as db:
        found = await events.list_page(db, limit=10)
        assert [event.kind for event in found] == ["kind.0", "kind.1", "kind.2", "kind.3"]
        ids = [event.id for event in found]
        assert ids == sorted(set(ids))
        assert found[0] == replace(an_event("kind.0", actor="admin"), id=ids[0])
        after = await events.list_page(db, after_id=ids[1], limit=1)
        assert [event.kind for event in after] == ["kind.2"]
        newest = await events.list_page(db, limit=2, newest_first=True)
        assert [event.kind for event in newest] == ["kind.3", "kind.2"]
        assert await events.list_page(db, after_id=10**30, limit=2) == ()


async def test_events_are_filtered(database: Database) -> None:
    async with database.begin() as db:
        await events.append(db, an_event("a", site_id="s1", federation_id="f1"))
        await events.append(db, an_event("b", site_id="s2", federation_id="f1", resource_id="r"))
    async with database.read() as db:

        async def kinds(**wanted: Any) -> list[str]:
            return [event.kind for event in await events.list_page(db, limit=9, **wanted)]

        assert await kinds(site_id="s1") == ["a"]
        assert await kinds(federation_ids=["f1"]) == ["a", "b"]
        assert await kinds(resource_ids=["r"]) == ["b"]
        assert await kinds(resource_ids=["r", "s"]) == ["b"]
        assert await kinds(resource_ids=[]) == []
        assert await kinds(kind="a") == ["a"]
        assert await kinds(kind="a", site_id="s2") == []


async def test_an_event_of_a_transaction_that_fails_is_never_seen(database: Database) -> None:
    with pytest.raises(Conflict):
        async with database.begin() as db:
            await events.append(db, an_event())
            raise Conflict("no")
    async with database.begin() as db:
        await events.append(db, an_event("after"))
    async with database.read() as db:
        assert [event.kind for event in await events.list_page(db, limit=9)] == ["after"]


async def test_a_follower_misses_nothing_of_many_writers(database: Database) -> None:
    total = 120
    go_on = asyncio.Event()

    async def write(number: int) -> None:
        async with database.begin() as db:
            await events.append(db, an_event(f"n.{number}"))
            # A few only: they keep their connections.
            if number % 30 == 0:
                await go_on.wait()

    seen: list[str] = []
    position = 0

    async def follow() -> None:
        nonlocal position
        while len(seen) < total:
            async with database.read() as db:
                for event in await events.list_page(db, after_id=position, limit=7):
                    assert event.id > position
                    position = event.id
                    seen.append(event.kind)
            # PostgreSQL: all others are to be seen while these are still open.
            if len(seen) == total - 4 or database.is_sqlite:
                go_on.set()
            await asyncio.sleep(0)

    async with time_limit():
        await asyncio.gather(follow(), *(write(number) for number in range(total)))
    assert sorted(seen) == sorted(f"n.{number}" for number in range(total))


async def test_an_agents_batch_is_stored_once(database: Database) -> None:
    async with database.begin() as db:
        assert await events.acked_through(db, "agent-1", "spool-1") == 0
        first = await events.append_from_agent(db, "agent-1", "spool-1", spooled(1, 2, 3))
        assert [event.seq for event in first.events] == [1, 2, 3]
        assert first.acked_through == 3
    async with database.begin() as db:
        again = await events.append_from_agent(db, "agent-1", "spool-1", spooled(2, 3, 4))
        assert [event.seq for event in again.events] == [4]
        assert again.acked_through == 4
        nothing = await events.append_from_agent(db, "agent-1", "spool-1", [])
        assert nothing == ((), 4)
    async with database.read() as db:
        assert await events.acked_through(db, "agent-1", "spool-1") == 4
        assert [event.seq for event in await events.list_page(db, limit=9)] == [1, 2, 3, 4]


async def test_spools_and_agents_are_told_apart(database: Database) -> None:
    async with database.begin() as db:
        await events.append_from_agent(db, "agent-1", "spool-1", spooled(1))
        await events.append_from_agent(db, "agent-2", "spool-1", spooled(1))
        await events.append_from_agent(db, "agent-1", "spool-2", spooled(1, spool_id="spool-2"))
        with pytest.raises(ValueError, match="spool"):
            await events.append_from_agent(db, "agent-1", "spool-3", spooled(1))
    async with database.read() as db:
        assert len(await events.list_page(db, limit=9)) == 3


async def test_a_batch_sent_on_ten_sessions_at_once_is_stored_once(database: Database) -> None:
    async def send() -> int:
        async with database.begin() as db:
            batch = spooled(*range(1, 51))
            return len((await events.append_from_agent(db, "a", "spool-1", batch)).events)

    assert sorted(await asyncio.gather(*(send() for _ in range(10)))) == [0] * 9 + [50]
    async with database.read() as db:
        stored = await events.list_page(db, limit=99)
    assert [event.seq for event in stored] == list(range(1, 51))


async def test_a_batch_that_is_undone_is_taken_again(database: Database) -> None:
    with pytest.raises(Conflict):
        async with database.begin() as db:
            await events.append_from_agent(db, "agent-1", "spool-1", spooled(1, 2))
            raise Conflict("no")
    async with database.begin() as db:
        assert await events.acked_through(db, "agent-1", "spool-1") == 0
        again = await events.append_from_agent(db, "agent-1", "spool-1", spooled(1, 2))
    assert len(again.events) == 2


async def test_what_no_database_holds_does_not_wedge_a_spool(database: Database) -> None:
    poison = replace(spooled(1)[0], message="a\x00b", facts={"\x00": "\x00"})
    async with database.begin() as db:
        await events.append_from_agent(db, "agent-1", "spool-1", [poison])
    async with database.read() as db:
        (stored,) = await events.list_page(db, limit=9)
    assert (stored.message, stored.facts) == ("a\ufffdb", {"\ufffd": "\ufffd"})


async def test_a_chart_is_read_in_slices(database: Database) -> None:
    archive = bytes(range(256)) * 40
    async with database.begin() as db:
        await charts.add(db, a_chart(), archive)
    async with database.read() as db:
        assert await charts.get(db, "sha-1.8.0") == a_chart()
        assert await charts.find(db, "fate", "1.8.0") == a_chart()
        assert await charts.find(db, "fate", "2.0.0") is None
        assert await charts.digests(db) == {"sha-1.8.0"}
        assert await charts.read(db, "sha-1.8.0", 0, 5) == archive[:5]
        assert await charts.read(db, "sha-1.8.0", 300, 1000) == archive[300:1300]
        assert await charts.read(db, "sha-1.8.0", len(archive) - 3, 99) == archive[-3:]
        assert await charts.read(db, "sha-1.8.0", len(archive), 99) == b""
        with pytest.raises(NotFound):
            await charts.read(db, "sha-2", 0, 1)
        with pytest.raises(NotFound):
            await charts.get(db, "sha-2")


async def test_charts_are_paged_replaced_and_forgotten(database: Database) -> None:
    async with database.begin() as db:
        for version in ("1.9.2", "1.10.0", "1.8.0"):
            await charts.add(db, a_chart(version), b"x")
        first = await charts.list_page(db, cursor=None, limit=2)
        rest = await charts.list_page(db, cursor=first.next_cursor, limit=2)
        assert [one.version for one in first.items + rest.items] == ["1.10.0", "1.8.0", "1.9.2"]
        await charts.delete(db, "sha-1.8.0")
        await charts.add(db, a_chart(sha256="other"), b"y")
    with pytest.raises(Conflict):
        async with database.begin() as db:
            await charts.add(db, a_chart(sha256="third"), b"z")


async def test_a_certificate_is_listed_once_and_found(database: Database) -> None:
    async with database.begin() as db:
        await certificates.add(db, a_certificate())
        await certificates.add(db, a_certificate(profile="other"))
        assert await certificates.find(db, "a1") == a_certificate()
        assert await certificates.find(db, "a2") is None
        listed = await certificates.list_page(
            db, EVERYTHING, resource_ids=["p-9999"], cursor=None, limit=9
        )
        assert listed.items == (a_certificate(),)


async def test_a_revocation_and_a_successor_are_noted(database: Database) -> None:
    async with database.begin() as db:
        for serial in ("a1", "a2"):
            await certificates.add(db, a_certificate(serial))
        await certificates.add(db, a_certificate("b1", secret_name="ats"))
        await certificates.mark_superseded(db, "p-9999", "pulsar-cert", except_serial="a2")
        await certificates.mark_revoked(db, "a1", NOW)
        await certificates.mark_revoked(db, "a1", NOW + SECOND)
        found = {serial: await certificates.find(db, serial) for serial in ("a1", "a2", "b1")}
    assert found["a1"] == a_certificate("a1", superseded=True, revoked_at=NOW)
    assert found["a2"] == a_certificate("a2")
    assert found["b1"] == a_certificate("b1", secret_name="ats")


async def test_certificates_of_a_sites_agent_are_found_until_they_are_revoked(
    database: Database,
) -> None:
    async with database.begin() as db:
        for serial in ("a1", "a2", "a3"):
            await certificates.add(db, a_certificate(serial, profile="agent"))
        await certificates.add(db, a_certificate("b1"))
        await certificates.mark_revoked(db, "a3", NOW)
        assert [one.serial for one in await certificates.of_agent(db, "site-alpha")] == ["a1", "a2"]
        assert await certificates.of_agent(db, "site-beta") == ()


async def test_certificates_are_paged_newest_first(database: Database) -> None:
    async with database.begin() as db:
        for number in range(4):
            expires = NOW + timedelta(days=number)
            row = a_certificate(f"a{number}", issued_at=NOW + number * SECOND, not_after=expires)
            await certificates.add(db, row)
        first = await certificates.list_page(db, EVERYTHING, cursor=None, limit=3)
        rest = await certificates.list_page(db, EVERYTHING, cursor=first.next_cursor, limit=3)
        assert [one.serial for one in first.items + rest.items] == ["a3", "a2", "a1", "a0"]
        soon = await certificates.list_page(
            db,
            EVERYTHING,
            site_id="site-alpha",
            resource_ids=["p-9999"],
            expiring_before=NOW + timedelta(days=2),
            cursor=None,
            limit=9,
        )
        assert [one.serial for one in soon.items] == ["a1", "a0"]


async def test_a_token_is_found_by_its_hash_until_a_newer_one_replaces_it(
    database: Database,
) -> None:
    rights = frozenset({Permission.READ, Permission.MANAGE_SITES})
    async with database.begin() as db:
        await tokens.add(db, token_id="t1", name="admin", token_sha256="h1", permissions=rights)
        assert await tokens.find(db, "h1") == _token("t1", rights)
        reader = frozenset({Permission.READ})
        await tokens.add(db, token_id="t2", name="admin", token_sha256="h2", permissions=reader)
        assert await tokens.find(db, "h1") is None
        assert await tokens.find(db, "h2") == _token("t1", reader)


def _token(token_id: str, permissions: frozenset[Permission]) -> Principal:
    return Principal(token_id, PrincipalKind.TOKEN, "admin", (Grant(permissions),))


async def test_an_answer_is_kept_for_its_principal_until_it_is_purged(database: Database) -> None:
    given = {"request_sha256": "r", "status": 202, "body": b"{}", "headers": {"ETag": "1"}}
    async with database.begin() as db:
        await idempotency.remember(db, key="k", principal_id="ada", **given, at=NOW)
        assert await idempotency.find(db, key="k", principal_id="bob") is None
        found = await idempotency.find(db, key="k", principal_id="ada")
        assert found == idempotency.Answer(**given, at=NOW)
        await idempotency.remember(db, "k", "ada", **given | {"status": 200}, at=NOW)
        again = await idempotency.find(db, "k", "ada")
        assert again is not None
        assert again.status == 200
        await idempotency.purge(db, NOW)
        assert await idempotency.find(db, "k", "ada") is not None
        await idempotency.purge(db, NOW + SECOND)
        assert await idempotency.find(db, "k", "ada") is None


async def test_a_list_holds_what_its_reader_may_see(database: Database) -> None:
    async with database.begin() as db:
        for site_id, federation_id in (("s1", "f1"), ("s2", "f1"), ("s1", "f2"), ("s2", None)):
            await events.append(db, an_event(site_id=site_id, federation_id=federation_id))
    table = table_of(EventTable)

    async def seen(visibility: Visibility) -> list[int]:
        async with database.read() as db:
            condition = is_visible(
                db, visibility, federation_id=table.c.federation_id, site_id=table.c.site_id
            )
            statement = select(table.c.id).where(condition).order_by(table.c.id)
            return list((await db.scalars(statement)).all())

    ids = await seen(Visibility(everything=True))
    assert len(ids) == 4
    assert await seen(Visibility(everything=False)) == []
    assert await seen(Visibility(everything=False, federation_ids=frozenset({"f1"}))) == ids[:2]
    some = Visibility(
        everything=False, federation_ids=frozenset({"f2"}), site_ids=frozenset({"s2"})
    )
    assert await seen(some) == [ids[1], ids[2], ids[3]]
