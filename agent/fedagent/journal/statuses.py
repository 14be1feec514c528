"""The latest status of each resource, and which the hub has been sent."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import aiosqlite

from fedagent.journal.database import Database
from fedproto.agent.v1 import status_pb2


@dataclass(frozen=True, slots=True)
class PendingStatus:
    """A status that the hub has not been sent in this version."""

    version: int
    status: status_pb2.ResourceStatus


class Statuses:
    """Latest wins. ``changed`` is set when something is to be sent."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.changed = asyncio.Event()

    async def put(self, status: status_pb2.ResourceStatus) -> bool:
        """Store a status; return False when it says the same as the stored one."""
        async with self._database.write() as connection:
            stored = await write_status(connection, status)
        if stored:
            self.changed.set()
        return stored

    async def get(self, resource_id: str) -> status_pb2.ResourceStatus | None:
        """Return the latest status of one resource."""
        row = await self._database.row(
            "SELECT body FROM statuses WHERE resource_id=?", (resource_id,)
        )
        return None if row is None else status_pb2.ResourceStatus.FromString(row[0])

    async def all(self) -> tuple[status_pb2.ResourceStatus, ...]:
        """Return the latest status of every resource, ordered by id."""
        rows = await self._database.rows("SELECT body FROM statuses ORDER BY resource_id")
        return tuple(status_pb2.ResourceStatus.FromString(row[0]) for row in rows)

    async def unsent(self, limit: int = 100) -> tuple[PendingStatus, ...]:
        """Return statuses that the hub lacks, oldest change first."""
        rows = await self._database.rows(
            "SELECT version, body FROM statuses WHERE version != sent_version"
            " ORDER BY version LIMIT ?",
            (limit,),
        )
        return tuple(
            PendingStatus(row[0], status_pb2.ResourceStatus.FromString(row[1])) for row in rows
        )

    async def mark_sent(self, statuses: tuple[PendingStatus, ...]) -> None:
        """Note that these versions went out; a newer version stays unsent."""
        async with self._database.write() as connection:
            await connection.executemany(
                "UPDATE statuses SET sent_version=? WHERE resource_id=? AND version=?",
                [(item.version, item.status.resource_id, item.version) for item in statuses],
            )

    async def resend_all(self) -> None:
        """Make every status unsent: a new session begins and the hub may lack the last ones."""
        async with self._database.write() as connection:
            await connection.execute("UPDATE statuses SET sent_version=0")
        self.changed.set()


async def write_status(connection: aiosqlite.Connection, status: status_pb2.ResourceStatus) -> bool:
    """Store a status within a transaction; return False when nothing changed."""
    body = status.SerializeToString(deterministic=True)
    cursor = await connection.execute(
        "INSERT INTO statuses SELECT ?, coalesce(max(version), 0) + 1, 0, ? FROM statuses"
        " WHERE true ON CONFLICT (resource_id) DO UPDATE SET version=excluded.version,"
        " body=excluded.body WHERE statuses.body != excluded.body",
        (status.resource_id, body),
    )
    return cursor.rowcount > 0
