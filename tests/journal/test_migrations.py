"""The journal's file: brought to the newest format from every older one, named when it fails."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from pathlib import Path

import pytest

from fedagent.journal import open_journal
from fedagent.journal.errors import JournalTooNew, JournalUnusable
from fedagent.journal.migrations import MIGRATIONS, NEWEST
from fedcore.clock import SystemClock
from fedproto.agent.v1 import document_pb2


def schema_of(path: Path) -> dict[str, str]:
    with sqlite3.connect(path) as connection:
        rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")
        return {name: " ".join(sql.split()) for name, sql in rows.fetchall()}


def version_of(path: Path) -> int:
    with sqlite3.connect(path) as connection:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])


def make_old(path: Path, number: int) -> None:
    """Make a file of an older format, as an agent of that time did."""
    with sqlite3.connect(path) as connection:
        for migration in MIGRATIONS[:number]:
            for statement in migration.statements:
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version={number}")


async def open_and_close(path: Path) -> None:
    async with open_journal(path, clock=SystemClock()):
        pass


@pytest.fixture
async def newest(tmp_path: Path) -> dict[str, str]:
    path = tmp_path / "newest.sqlite"
    await open_and_close(path)
    return schema_of(path)


def test_migrations_are_numbered_without_a_gap() -> None:
    assert [migration.number for migration in MIGRATIONS] == list(range(1, NEWEST + 1))


@pytest.mark.parametrize("number", range(NEWEST + 1))
async def test_every_older_format_becomes_the_newest_with_its_rows(
    tmp_path: Path, newest: dict[str, str], number: int
) -> None:
    path = tmp_path / "journal.sqlite"
    make_old(path, number)
    document = document_pb2.DesiredDocument(resource_id="r", generation=3, digest="d")
    if number:
        with sqlite3.connect(path) as connection:
            row = ("r", 3, "d", 0, document.SerializeToString(), "2026-01-01T00:00:00+00:00")
            connection.execute("INSERT INTO documents VALUES (?,?,?,?,?,?)", row)
    async with open_journal(path, clock=SystemClock()) as journal:
        assert await journal.documents.all() == ((document,) if number else ())
    assert version_of(path) == NEWEST
    assert schema_of(path) == newest


async def test_approvals_of_a_generation_alone_are_asked_again(
    tmp_path: Path, newest: dict[str, str]
) -> None:
    path = tmp_path / "journal.sqlite"
    make_old(path, 1)
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE approvals (resource_id TEXT, generation INTEGER)")
        connection.execute("INSERT INTO approvals VALUES ('r', 1)")
    async with open_journal(path, clock=SystemClock()) as journal:
        assert await journal.approvals.all() == ()
    assert schema_of(path) == newest


@pytest.mark.parametrize("migration", MIGRATIONS, ids=lambda migration: migration.name)
async def test_a_migration_that_is_cut_off_leaves_the_format_before_and_is_done_again(
    tmp_path: Path,
    newest: dict[str, str],
    migration: object,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "journal.sqlite"
    number = MIGRATIONS.index(migration)
    make_old(path, number)
    before = schema_of(path)
    broken = f"{MIGRATIONS[number].sql}; no statement at all"
    cut_off = [
        type(item)(item.number, item.name, broken if item is migration else item.sql)
        for item in MIGRATIONS
    ]
    with monkeypatch.context() as patch:
        patch.setattr("fedagent.journal.migrations.MIGRATIONS", cut_off)
        with pytest.raises(sqlite3.OperationalError, match="syntax error"):
            await open_and_close(path)
    assert (version_of(path), schema_of(path)) == (number, before)
    await open_and_close(path)
    assert schema_of(path) == newest


async def test_several_processes_may_open_a_new_file_at_once(
    tmp_path: Path, newest: dict[str, str]
) -> None:
    path = tmp_path / "journal.sqlite"
    await asyncio.gather(*(open_and_close(path) for _ in range(5)))
    assert (version_of(path), schema_of(path)) == (NEWEST, newest)


async def test_a_newer_file_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version={NEWEST + 1}")
    with pytest.raises(JournalTooNew, match="run the newer agent"):
        await open_and_close(path)
    assert (version_of(path), schema_of(path)) == (NEWEST + 1, {})


async def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    path.write_bytes(b"something else\n" * 1000)
    with pytest.raises(JournalUnusable, match=rf"{path} cannot be used: it is no SQLite file"):
        await open_and_close(path)


async def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    async with open_journal(path, clock=SystemClock()) as journal:
        await journal.documents.put(
            [
                document_pb2.DesiredDocument(resource_id=f"r-{number}", generation=1, digest="d")
                for number in range(500)
            ]
        )
    content = bytearray(path.read_bytes())
    content[4096:] = os.urandom(len(content) - 4096)
    path.write_bytes(content)
    with pytest.raises(JournalUnusable, match="it is damaged: put a backup in its place"):
        async with open_journal(path, clock=SystemClock()) as journal:
            await journal.documents.all()


async def test_a_full_disk_is_named_and_what_was_there_stays(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    async with open_journal(path, clock=SystemClock()) as journal:
        await journal.documents.put(
            [document_pb2.DesiredDocument(resource_id="r", generation=1, digest="d")]
        )
        pages = await journal._database.row("PRAGMA page_count")
        assert pages is not None
        await journal._database.rows(f"PRAGMA max_page_count={pages[0]}")
        large = document_pb2.DesiredDocument(resource_id="x" * 100_000, generation=1, digest="d")
        with pytest.raises(JournalUnusable, match="the disk is full: make room"):
            await journal.documents.put([large])
        assert [ref.resource_id for ref in await journal.documents.refs()] == ["r"]


async def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalUnusable, match="cannot be made"):
        await open_and_close(tmp_path / "file" / "journal.sqlite")
