"""What is kept of things that are gone: their names, and what they leave to be settled."""

from __future__ import annotations

from tests.contract.store.rows import (
    NOW,
    SECOND,
    a_certificate,
    an_endpoint,
    an_event,
    an_operation,
    populate,
)

from fedhub.domain.models import OperationTarget
from fedhub.domain.phases import OperationState
from fedhub.store import certificates, endpoints, events, operations, participants
from fedsql.engine import Database

TARGETS = (OperationTarget("p-1", 2), OperationTarget("p-2", 1, done=True))


async def test_the_newest_operation_of_a_resource_is_found_and_gone_targets_count_as_reached(
    database: Database,
) -> None:
    ended = {"ended_at": NOW, "message": "no"}
    async with database.begin() as db:
        await operations.add(db, an_operation(1, *TARGETS, state=OperationState.FAILED, **ended))
        await operations.add(db, an_operation(2, OperationTarget("p-1", 1)))
        await operations.add(db, an_operation(3, *TARGETS, state=OperationState.SUPERSEDED))
        newest = await operations.newest_with_target(db, "p-1")
        assert newest is not None
        assert newest.id == "op-0003"
        assert await operations.newest_with_target(db, "p-9") is None
        await operations.mark_target_gone(db, "p-1")
        done = {
            one: {t.resource_id for t in (await operations.get(db, one)).targets if t.done}
            for one in ("op-0001", "op-0002", "op-0003")
        }
    assert done == {"op-0001": {"p-1", "p-2"}, "op-0002": {"p-1"}, "op-0003": {"p-2"}}


async def test_certificates_of_participants_that_are_gone_are_found(database: Database) -> None:
    await populate(database, 9999)
    async with database.begin() as db:
        for serial, changes in {
            "stays": {"resource_id": "p-9999"},
            "agent": {"resource_id": None, "profile": "agent"},
            "gone": {"resource_id": "p-1"},
            "elsewhere": {"resource_id": "p-1", "site_id": "site-beta"},
            "revoked": {"resource_id": "p-1", "revoked_at": NOW},
            "over": {"resource_id": "p-1", "not_after": NOW - SECOND},
        }.items():
            await certificates.add(db, a_certificate(serial, **changes))
        found = await certificates.of_gone(db, "site-alpha", at=NOW)
    assert [one.serial for one in found] == ["gone"]


async def test_facts_of_events_are_read_with_those_of_the_same_transaction(
    database: Database,
) -> None:
    async with database.begin() as db:
        await events.append(db, an_event("a", federation_id="f1", facts={"n": "1"}))
    async with database.begin() as db:
        await events.append(db, an_event("a", federation_id="f1", facts={"n": "2"}))
        await events.append(db, an_event("b", federation_id="f1", facts={"n": "3"}))
        await events.append(db, an_event("a", federation_id="f2", facts={"n": "4"}))
        assert await events.facts_of(db, "f1", kind="a") == [{"n": "1"}, {"n": "2"}]


async def test_resources_are_named_as_people_name_them(database: Database) -> None:
    await populate(database, 9999)
    async with database.begin() as db:
        await endpoints.add(db, an_endpoint())
        names = await participants.names_of_resources(
            db, ["p-9999", "endpoint-of-site-alpha", "nobody"]
        )
        assert names == {"p-9999": "credit/9999", "endpoint-of-site-alpha": "endpoint/alpha"}
        assert await participants.names_of_resources(db, []) == {}
        assert [one.id for one in await participants.called(db, "credit/9999")] == ["p-9999"]
        assert await participants.called(db, "credit/1") == ()
