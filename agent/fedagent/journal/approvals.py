"""What waits for a person at the site, and what that person allowed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from fedagent.journal.database import Database, from_text, to_text
from fedproto.errors import NotFound

_ID_CHARS: Final = 10


@dataclass(frozen=True, slots=True)
class Approval:
    """A request for consent: one kind of action for one generation of one resource."""

    approval_id: str
    resource_id: str
    generation: int
    kind: str
    summary: str
    asked_at: datetime
    approved_at: datetime | None
    approved_by: str


class Approvals:
    """Requests for consent. Another process (``fedagent approve``) may write here."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def ask(
        self, resource_id: str, generation: int, kind: str, *, summary: str, at: datetime
    ) -> str:
        """Note that something waits for a person; return the id to approve. Idempotent."""
        approval_id = approval_id_of(resource_id, generation, kind)
        async with self._database.write() as connection:
            await connection.execute(
                "INSERT OR IGNORE INTO approvals VALUES (?,?,?,?,?,?,NULL,NULL)",
                (approval_id, resource_id, generation, kind, summary, to_text(at)),
            )
        return approval_id

    async def approve(self, approval_id: str, *, by: str, at: datetime) -> Approval:
        """Note a person's consent; raise NotFound naming the way to list what waits."""
        async with self._database.write() as connection:
            await connection.execute(
                "UPDATE approvals SET approved_at=?, approved_by=?"
                " WHERE id=? AND approved_at IS NULL",
                (to_text(at), by, approval_id),
            )
        found = [item for item in await self.all() if item.approval_id == approval_id]
        if not found:
            raise NotFound(
                f"nothing with id {approval_id} waits here; `fedagent approvals` lists what does"
            )
        return found[0]

    async def all(self) -> tuple[Approval, ...]:
        """Return every request, newest first."""
        rows = await self._database.rows("SELECT * FROM approvals ORDER BY asked_at DESC, id")
        return tuple(
            Approval(
                approval_id=row[0],
                resource_id=row[1],
                generation=row[2],
                kind=row[3],
                summary=row[4],
                asked_at=from_text(row[5]),
                approved_at=None if row[6] is None else from_text(row[6]),
                approved_by=row[7] or "",
            )
            for row in rows
        )


def approval_id_of(resource_id: str, generation: int, kind: str) -> str:
    """Return the short id by which a person approves."""
    text = f"{resource_id}/{generation}/{kind}"
    return hashlib.sha256(text.encode()).hexdigest()[:_ID_CHARS]
