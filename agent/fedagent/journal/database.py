"""One SQLite file behind one connection: WAL, fsync at every commit, transactions one by one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import aiosqlite

from fedcore.files import make_private

SCHEMA_VERSION: Final = 1
# ``approvals`` of older agents were kept by generation alone, which covers any text: asked again.
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS documents (
  resource_id TEXT PRIMARY KEY, generation INTEGER NOT NULL, digest TEXT NOT NULL,
  absent INTEGER NOT NULL, body BLOB NOT NULL, received_at TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS statuses (
  resource_id TEXT PRIMARY KEY, version INTEGER NOT NULL, sent_version INTEGER NOT NULL,
  body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS spool (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, size INTEGER NOT NULL, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS submissions (
  id INTEGER PRIMARY KEY AUTOINCREMENT, resource_id TEXT NOT NULL, generation INTEGER NOT NULL,
  attempt INTEGER NOT NULL, method TEXT NOT NULL, begun_at TEXT NOT NULL,
  job_id TEXT NOT NULL DEFAULT '', outcome TEXT, cause TEXT NOT NULL DEFAULT '',
  message TEXT NOT NULL DEFAULT '', ended_at TEXT,
  UNIQUE (resource_id, generation, attempt));
CREATE TABLE IF NOT EXISTS notes (
  resource_id TEXT NOT NULL, name TEXT NOT NULL, body TEXT NOT NULL,
  PRIMARY KEY (resource_id, name));
CREATE TABLE IF NOT EXISTS charts (
  service TEXT NOT NULL, sha256 TEXT NOT NULL, uuid TEXT NOT NULL, noted_at TEXT NOT NULL,
  PRIMARY KEY (service, sha256));
DROP TABLE IF EXISTS approvals;
CREATE TABLE IF NOT EXISTS consents (
  id TEXT PRIMARY KEY, resource_id TEXT NOT NULL, generation INTEGER NOT NULL,
  body_sha256 TEXT NOT NULL, kind TEXT NOT NULL, summary TEXT NOT NULL, asked_at TEXT NOT NULL,
  approved_at TEXT, approved_by TEXT, UNIQUE (resource_id, body_sha256, kind));
"""


class JournalTooNew(Exception):
    """The file was written by a newer agent; that agent must go on with it."""


class Database:
    """The connection. Reads need no transaction; writes go through ``write``."""

    def __init__(self, connection: aiosqlite.Connection) -> None:
        self._connection = connection
        self._lock = asyncio.Lock()

    @asynccontextmanager
    async def write(self) -> AsyncIterator[aiosqlite.Connection]:
        """Hold one transaction: committed to disk at the end, rolled back at an error.

        Safe to cancel anywhere: the connection's thread works its queue off in order, so a
        rollback that is asked for here follows a BEGIN that nobody waited for.
        """
        async with self._lock:
            try:
                await self._connection.execute("BEGIN IMMEDIATE")
                yield self._connection
            except BaseException:
                await self._connection.rollback()
                raise
            await self._connection.commit()

    async def rows(self, sql: str, values: Sequence[Any] = ()) -> list[aiosqlite.Row]:
        """Return all rows of a query. Waits for a write under way: nothing half done is seen."""
        async with self._lock, self._connection.execute(sql, values) as cursor:
            return list(await cursor.fetchall())

    async def row(self, sql: str, values: Sequence[Any] = ()) -> aiosqlite.Row | None:
        """Return the first row of a query, if any."""
        found = await self.rows(sql, values)
        return found[0] if found else None

    async def data_version(self) -> int:
        """Return a number that changes when another process has written the file."""
        row = await self.row("PRAGMA data_version")
        return int(row[0]) if row is not None else 0


@asynccontextmanager
async def open_database(path: Path, *, busy_limit_s: float) -> AsyncIterator[Database]:
    """Open or make the file (0600) and its tables; close at the end."""
    await asyncio.to_thread(make_private, path)
    async with aiosqlite.connect(path, timeout=busy_limit_s, isolation_level=None) as connection:
        await _prepare(connection)
        yield Database(connection)


async def _prepare(connection: aiosqlite.Connection) -> None:
    await connection.execute("PRAGMA journal_mode=WAL")
    await connection.execute("PRAGMA synchronous=FULL")
    async with connection.execute("PRAGMA user_version") as cursor:
        row = await cursor.fetchone()
    version = int(row[0]) if row is not None else 0
    if version > SCHEMA_VERSION:
        raise JournalTooNew(
            f"the journal has format {version}, this agent knows {SCHEMA_VERSION}: "
            "run the newer agent, or start with an empty state directory"
        )
    await connection.executescript(_SCHEMA)
    await connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")


def to_text(moment: datetime) -> str:
    """Write a time for the file: ISO 8601, UTC."""
    return moment.astimezone(UTC).isoformat()


def from_text(text: str) -> datetime:
    """Read a time of the file."""
    return datetime.fromisoformat(text)
