from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError
from tests.contract.store.rows import a_site

from fedcore.errors import Unavailable
from fedhub.store import sites
from fedhub.store.engine import open_database
from fedsql.engine import Database
from fedsql.timing import DatabaseTiming


def _modes(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mode & 0o777 for path in folder.glob("hub.db*")}


async def test_the_file_is_its_owners_alone(sqlite: Database, tmp_path: Path) -> None:
    async with sqlite.begin() as db:
        await sites.add(db, a_site())
    modes = _modes(tmp_path)
    assert modes == {"hub.db": 0o600, "hub.db-shm": 0o600, "hub.db-wal": 0o600}


async def test_a_folder_that_is_missing_is_made(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path / 'a' / 'b' / 'hub.db'}")
    await database.migrate()
    await database.ping()
    await database.dispose()


async def test_a_place_that_cannot_be_written_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    database = open_database(f"sqlite:///{tmp_path / 'file' / 'hub.db'}")
    with pytest.raises(Unavailable, match="cannot be made"):
        await database.migrate()
    with pytest.raises(Unavailable):
        await database.ping()
    await database.dispose()


async def test_connections_are_set_up_for_safety(sqlite: Database) -> None:
    async with sqlite.begin() as db:
        found = {
            name: await db.scalar(text(f"PRAGMA {name}"))
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert found == {
        "journal_mode": "wal",
        "synchronous": 2,
        "foreign_keys": 1,
        "busy_timeout": round(DatabaseTiming().sqlite_busy_s * 1000),
    }


async def test_another_process_that_writes_too_long_makes_it_unavailable(
    tmp_path: Path,
) -> None:
    timing = DatabaseTiming(sqlite_busy_s=0.02)
    database = open_database(f"sqlite:///{tmp_path / 'hub.db'}", timing)
    await database.migrate()
    other = sqlite3.connect(tmp_path / "hub.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable):
        async with database.begin():
            pass
    async with database.read() as db:
        assert await sites.all(db) == ()
    other.execute("ROLLBACK")
    other.close()
    async with database.begin() as db:
        await sites.add(db, a_site())
    await database.dispose()


async def test_a_defect_of_ours_is_not_called_unavailable(sqlite: Database) -> None:
    with pytest.raises(OperationalError):
        async with sqlite.begin() as db:
            await db.execute(text("SELECT * FROM nothing"))


async def test_a_transaction_that_takes_too_long_is_ended(sqlite: Database, tmp_path: Path) -> None:
    timing = DatabaseTiming(transaction_limit_s=0.05)
    hasty = open_database(f"sqlite:///{tmp_path / 'hub.db'}", timing)
    with pytest.raises(Unavailable):
        async with hasty.begin() as db:
            await sites.add(db, a_site())
            await db.execute(
                text(
                    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 2000000)"
                    " SELECT max(i) FROM n"
                )
            )
    await hasty.dispose()
    async with sqlite.begin() as db:
        assert await sites.all(db) == ()


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("mysql://root@db/hub", "sqlite or postgresql"),
        ("sqlite://", "needs a file"),
        ("sqlite:///:memory:", "needs a file"),
    ],
)
def test_a_database_that_will_not_do_is_refused_at_the_start(url: str, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        open_database(url)


async def test_writers_get_their_turn_in_the_order_they_came(sqlite: Database) -> None:
    order: list[int] = []

    async def write(number: int) -> None:
        async with sqlite.begin():
            order.append(number)
        if number < 20:
            # Comes back at once, and must queue up behind all who wait.
            async with sqlite.begin():
                order.append(number + 100)

    await asyncio.gather(*(write(number) for number in range(40)))
    assert order[:40] == list(range(40))
