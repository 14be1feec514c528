"""The desired documents received: the newest of each resource."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import structlog

from fedagent.journal.database import Database, to_text
from fedcore.clock import Clock
from fedproto.agent.v1 import document_pb2, link_pb2

log = structlog.get_logger()

_TABLES_OF_A_RESOURCE = ("documents", "statuses", "submissions", "notes", "consents")


class Documents:
    """What the hub wants. ``changed`` is set after a commit that changed something."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self.changed = asyncio.Event()

    async def put(self, documents: Iterable[document_pb2.DesiredDocument]) -> tuple[str, ...]:
        """Store documents on disk; return the ids whose document changed.

        Idempotent. An older generation than the stored one is ignored: frames of a session come
        in order, so it can only be a replay.
        """
        changed: list[str] = []
        async with self._database.write() as connection:
            for document in documents:
                cursor = await connection.execute(
                    "INSERT INTO documents VALUES (?,?,?,?,?,?) ON CONFLICT (resource_id) DO UPDATE"
                    " SET generation=excluded.generation, digest=excluded.digest,"
                    " absent=excluded.absent, body=excluded.body,"
                    " received_at=excluded.received_at"
                    " WHERE excluded.generation > documents.generation"
                    " OR (excluded.generation = documents.generation"
                    " AND excluded.digest != documents.digest)",
                    (
                        document.resource_id,
                        document.generation,
                        document.digest,
                        int(document.absent),
                        document.SerializeToString(deterministic=True),
                        to_text(self._clock.now()),
                    ),
                )
                if cursor.rowcount:
                    changed.append(document.resource_id)
        if changed:
            self.changed.set()
        return tuple(changed)

    async def forget(self, resource_ids: Iterable[str]) -> tuple[str, ...]:
        """Drop all that is known of resources that are gone; return those that were dropped.

        A resource whose document is not ``absent`` stays: forgetting it would orphan it.
        """
        dropped: list[str] = []
        async with self._database.write() as connection:
            for resource_id in resource_ids:
                cursor = await connection.execute(
                    "DELETE FROM documents WHERE resource_id=? AND absent=1", (resource_id,)
                )
                if not cursor.rowcount:
                    log.warning("document.not_forgotten", resource_id=resource_id)
                    continue
                dropped.append(resource_id)
                for table in _TABLES_OF_A_RESOURCE:
                    await connection.execute(
                        f"DELETE FROM {table} WHERE resource_id=?",  # noqa: S608 - our own names
                        (resource_id,),
                    )
        if dropped:
            self.changed.set()
        return tuple(dropped)

    async def all(self) -> tuple[document_pb2.DesiredDocument, ...]:
        """Return every document, ordered by id."""
        rows = await self._database.rows("SELECT body FROM documents ORDER BY resource_id")
        return tuple(document_pb2.DesiredDocument.FromString(row[0]) for row in rows)

    async def get(self, resource_id: str) -> document_pb2.DesiredDocument | None:
        """Return one document."""
        row = await self._database.row(
            "SELECT body FROM documents WHERE resource_id=?", (resource_id,)
        )
        return None if row is None else document_pb2.DesiredDocument.FromString(row[0])

    async def refs(self) -> tuple[link_pb2.DocumentRef, ...]:
        """Return what Hello says about the documents here."""
        rows = await self._database.rows(
            "SELECT resource_id, generation, digest FROM documents ORDER BY resource_id"
        )
        return tuple(
            link_pb2.DocumentRef(resource_id=row[0], generation=row[1], digest=row[2])
            for row in rows
        )
