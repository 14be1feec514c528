"""The formats of the journal's file: each migration makes the next out of the one before.

A migration is never changed once an agent with it has been released; a change of the tables is a
new one at the end. Each is applied in a transaction of its own together with its number
(``PRAGMA user_version``), so that a process that ends in between leaves the format before it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import aiosqlite

from fedagent.journal.errors import JournalTooNew


@dataclass(frozen=True, slots=True)
class Migration:
    """One step from a format to the next; ``number`` is the format that it makes."""

    number: int
    name: str
    sql: str

    @property
    def statements(self) -> tuple[str, ...]:
        """Return the statements one by one: a script would commit between them."""
        return tuple(filter(None, map(str.strip, self.sql.split(";"))))


# IF NOT EXISTS: files of format 1 were made with some of these tables, and format 0 is no file.
_FIRST: Final = """
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
"""

# The approvals of format 1 name a generation alone, which covers any text: people are asked again.
_CONSENTS: Final = """
DROP TABLE IF EXISTS approvals;
CREATE TABLE IF NOT EXISTS consents (
  id TEXT PRIMARY KEY, resource_id TEXT NOT NULL, generation INTEGER NOT NULL,
  body_sha256 TEXT NOT NULL, kind TEXT NOT NULL, summary TEXT NOT NULL, asked_at TEXT NOT NULL,
  approved_at TEXT, approved_by TEXT, UNIQUE (resource_id, body_sha256, kind));
"""

MIGRATIONS: Final = (
    Migration(1, "documents, statuses, spool and submissions", _FIRST),
    Migration(2, "consent to a text instead of a generation", _CONSENTS),
)
NEWEST: Final = MIGRATIONS[-1].number


async def migrate(connection: aiosqlite.Connection) -> tuple[int, ...]:
    """Bring the file to the newest format; return the numbers of the migrations applied.

    Safe when several processes open the file at once. Raises JournalTooNew for a file of a newer
    agent, which is left as it is.
    """
    applied = []
    for migration in MIGRATIONS:
        await connection.execute("BEGIN IMMEDIATE")
        try:
            # Read inside the transaction: another process may have migrated meanwhile.
            if await _known_version(connection) < migration.number:
                await _apply(connection, migration)
                applied.append(migration.number)
        except BaseException:
            await connection.rollback()
            raise
        await connection.commit()
    return tuple(applied)


async def _apply(connection: aiosqlite.Connection, migration: Migration) -> None:
    for statement in migration.statements:
        await connection.execute(statement)
    await connection.execute(f"PRAGMA user_version={migration.number}")


async def _known_version(connection: aiosqlite.Connection) -> int:
    async with connection.execute("PRAGMA user_version") as cursor:
        row = await cursor.fetchone()
    version = int(row[0]) if row is not None else 0
    if version > NEWEST:
        raise JournalTooNew(
            f"the journal has format {version}, this agent knows {NEWEST}: "
            "run the newer agent, or start with an empty state directory"
        )
    return version
