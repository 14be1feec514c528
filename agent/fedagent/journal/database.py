"""One SQLite file behind one connection: WAL, fsync at every commit, transactions one by one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiosqlite
import structlog

from fedagent.journal.errors import named_failures
from fedagent.journal.migrations import migrate
from fedcore.files import make_private

log = structlog.get_logger()


class Database:
    """The connection. Reads need no transaction; writes go through ``write``."""

    def __init__(self, connection: aiosqlite.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path
        self._lock = asyncio.Lock()

    @asynccontextmanager
    async def write(self) -> AsyncIterator[aiosqlite.Connection]:
        """Hold one transaction: committed to disk at the end, rolled back at an error.

        Raises JournalUnusable when the file fails: a full disk, a damaged file.
        Safe to cancel anywhere: the connection's thread works its queue off in order, so a
        rollback that is asked for here follows a BEGIN that nobody waited for.
        """
        async with self._lock:
            with named_failures(self._path):
                try:
                    await self._connection.execute("BEGIN IMMEDIATE")
                    yield self._connection
                except BaseException:
                    await self._connection.rollback()
                    raise
                await self._connection.commit()

    async def rows(self, sql: str, values: Sequence[Any] = ()) -> list[aiosqlite.Row]:
        """Return all rows of a query. Waits for a write under way: nothing half done is seen."""
        async with self._lock:
            with named_failures(self._path):
                async with self._connection.execute(sql, values) as cursor:
                    return list(await cursor.fetchall())

    async def row(self, sql: str, values: Sequence[Any] = ()) -> aiosqlite.Row | None:
        """Return the first row of a query, if any."""
        rows = await self.rows(sql, values)
        return rows[0] if rows else None

    async def data_version(self) -> int:
        """Return a number that changes when another process has written the file."""
        row = await self.row("PRAGMA data_version")
        return int(row[0]) if row is not None else 0


@asynccontextmanager
async def open_database(path: Path, *, busy_limit_s: float) -> AsyncIterator[Database]:
    """Open or make the file (0600), bring it to the newest format, close it at the end.

    Raises JournalTooNew, JournalUnusable.
    """
    with named_failures(path):
        await asyncio.to_thread(make_private, path)
    opened = aiosqlite.connect(path, timeout=busy_limit_s, isolation_level=None)
    async with opened as connection:
        with named_failures(path):
            await connection.execute("PRAGMA journal_mode=WAL")
            await connection.execute("PRAGMA synchronous=FULL")
            applied = await migrate(connection)
        if applied:
            log.info("journal.migrated", path=str(path), formats=applied)
        yield Database(connection, path)


def to_text(moment: datetime) -> str:
    """Write a time for the file: ISO 8601, UTC."""
    return moment.astimezone(UTC).isoformat()


def from_text(text: str) -> datetime:
    """Read a time of the file."""
    return datetime.fromisoformat(text)
