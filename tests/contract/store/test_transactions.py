from __future__ import annotations

import asyncio
import random

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from tests.contract.store.rows import (
    a_federation,
    a_participant,
    a_site,
    put_setting,
    setting,
)
from tests.support.patience import time_limit

from fedcore.errors import Conflict, Internal
from fedhub.store import federations, hub, participants, sites
from fedsql.engine import Database

SLOW = text(
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000) SELECT i FROM n"
)


class Wanted(Exception):
    """The caller's own error."""


async def test_a_transaction_is_stored_as_a_whole(database: Database) -> None:
    async with database.begin() as db:
        await sites.add(db, a_site("alpha"))
        await sites.add(db, a_site("beta"))
    async with database.read() as db:
        assert [site.name for site in await sites.all(db)] == ["alpha", "beta"]


async def test_an_exception_undoes_everything_and_passes_unchanged(database: Database) -> None:
    with pytest.raises(Wanted):
        async with database.begin() as db:
            await sites.add(db, a_site())
            raise Wanted
    async with database.read() as db:
        assert await sites.all(db) == ()


async def test_a_timeout_of_the_caller_stays_a_timeout(database: Database) -> None:
    with pytest.raises(TimeoutError):
        async with database.begin() as db:
            await sites.add(db, a_site())
            raise TimeoutError
    async with database.read() as db:
        assert await sites.all(db) == ()


async def test_a_cancelled_transaction_stores_nothing_and_frees_the_database(
    database: Database,
) -> None:
    inside = asyncio.Event()

    async def hang() -> None:
        async with database.begin() as db:
            await sites.add(db, a_site())
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(hang())
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with time_limit(), database.begin() as db:
        assert await sites.all(db) == ()
        await sites.add(db, a_site())


async def test_a_broken_constraint_is_a_conflict_and_stores_nothing(database: Database) -> None:
    with pytest.raises(Conflict):
        async with database.begin() as db:
            await sites.add(db, a_site("beta"))
            await sites.add(db, a_site("beta", id="other"))
    with pytest.raises(Conflict):
        async with database.begin() as db:
            await federations.add(db, a_federation())
            await participants.add(db, a_participant(site_id="nowhere"))
    async with database.read() as db:
        assert await sites.all(db) == ()
        assert await federations.all(db) == ()


async def test_a_read_cannot_write(database: Database) -> None:
    with pytest.raises(DBAPIError, match=r"read.?only"):
        async with database.read() as db:
            await sites.add(db, a_site())


async def test_a_reader_sees_one_state_while_a_writer_goes_on(database: Database) -> None:
    async with database.read() as reader:
        assert await sites.all(reader) == ()
        async with time_limit(), database.begin() as db:
            await sites.add(db, a_site())
        assert await sites.all(reader) == ()
    async with database.read() as reader:
        assert len(await sites.all(reader)) == 1


async def test_readers_do_not_wait_for_an_open_writer(database: Database) -> None:
    async with database.begin() as db:
        await sites.add(db, a_site())
        async with time_limit(), database.read() as reader:
            assert await sites.all(reader) == ()


async def test_a_transaction_inside_another_of_the_same_task_is_refused_at_once(
    database: Database,
) -> None:
    with pytest.raises(Internal):
        async with database.begin(), database.begin():
            pass
    async with database.begin() as db:
        await sites.add(db, a_site())


async def test_fifty_writers_at_once_all_get_their_turn(database: Database) -> None:
    async def write(number: int) -> None:
        async with database.begin() as db:
            before = int(await setting(db, f"n{number % 5}") or 0)
            await put_setting(db, f"own-{number}", "x")
            await put_setting(db, f"n{number % 5}", str(before + 1))

    await asyncio.gather(*(write(number) for number in range(50)))
    async with database.read() as db:
        found = await db.scalar(text("SELECT count(*) FROM hub_settings WHERE name LIKE 'own-%'"))
    assert found == 50


async def test_a_ping_answers(database: Database) -> None:
    await database.ping()


async def test_the_hub_has_one_identity_for_ever(database: Database) -> None:
    async def identity() -> str:
        async with database.begin() as db:
            return await hub.get_or_create_identity(db)

    first, *others = await asyncio.gather(*(identity() for _ in range(5)))
    assert first
    assert set(others) == {first}


@pytest.mark.parametrize("seed", range(4))
async def test_writers_cancelled_anywhere_leave_the_database_free_and_whole(
    database: Database, seed: int
) -> None:
    rng = random.Random(seed)

    async def write(number: int) -> None:
        async with database.begin() as db:
            await put_setting(db, f"first-{number}", "x")
            await db.execute(SLOW)
            await put_setting(db, f"second-{number}", "x")

    async def cancelled(number: int) -> None:
        task = asyncio.create_task(write(number))
        for _ in range(rng.randrange(60)):
            await asyncio.sleep(0)
        task.cancel()
        # A second cancellation, while the first one is still cleaning up.
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    for number in range(40):
        await cancelled(number)
    async with time_limit(), database.begin() as db:
        await put_setting(db, "after", "x")
        rows = await db.execute(text("SELECT name FROM hub_settings"))
        names = {name for (name,) in rows}
    firsts = {name.removeprefix("first-") for name in names if name.startswith("first-")}
    seconds = {name.removeprefix("second-") for name in names if name.startswith("second-")}
    assert firsts == seconds
