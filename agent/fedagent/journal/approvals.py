"""What waits for a person at the site, and what that person allowed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from fedagent.journal.database import Database, from_text, to_text
from fedcore.errors import NotFound

_ID_CHARS: Final = 10


@dataclass(frozen=True, slots=True)
class Wanted:
    """The text that consent is about. ``body_sha256`` is the agent's own, not the hub's word."""

    resource_id: str
    generation: int
    body_sha256: str


@dataclass(frozen=True, slots=True)
class Approval:
    """A request for consent: one kind of action for one text of one resource."""

    approval_id: str
    wanted: Wanted
    kind: str
    summary: str
    asked_at: datetime
    approved_at: datetime | None
    approved_by: str


class Approvals:
    """Requests for consent. Another process (``fedagent approve``) may write here."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def ask(self, wanted: Wanted, kind: str, *, summary: str, at: datetime) -> str:
        """Note that something waits for a person; return the id to approve. Idempotent.

        What still waits for an older text of the resource is dropped: nobody can want it now.
        """
        approval_id = approval_id_of(wanted, kind)
        resource_id, sha256 = wanted.resource_id, wanted.body_sha256
        async with self._database.write() as connection:
            await connection.execute(
                "DELETE FROM consents"
                " WHERE resource_id=? AND body_sha256!=? AND approved_at IS NULL",
                (resource_id, sha256),
            )
            await connection.execute(
                "INSERT OR IGNORE INTO consents VALUES (?,?,?,?,?,?,?,NULL,NULL)",
                (approval_id, resource_id, wanted.generation, sha256, kind, summary, to_text(at)),
            )
        return approval_id

    async def approve(self, approval_id: str, *, by: str, at: datetime) -> Approval:
        """Note a person's consent; raise NotFound naming the way to list what waits."""
        async with self._database.write() as connection:
            await connection.execute(
                "UPDATE consents SET approved_at=?, approved_by=?"
                " WHERE id=? AND approved_at IS NULL",
                (to_text(at), by, approval_id),
            )
        approvals = [item for item in await self.all() if item.approval_id == approval_id]
        if not approvals:
            raise NotFound(
                f"nothing with id {approval_id} waits here; `fedagent approvals` lists what does"
            )
        return approvals[0]

    async def all(self) -> tuple[Approval, ...]:
        """Return every request, newest first."""
        rows = await self._database.rows("SELECT * FROM consents ORDER BY asked_at DESC, id")
        return tuple(
            Approval(
                approval_id=row[0],
                wanted=Wanted(row[1], row[2], row[3]),
                kind=row[4],
                summary=row[5],
                asked_at=from_text(row[6]),
                approved_at=None if row[7] is None else from_text(row[7]),
                approved_by=row[8] or "",
            )
            for row in rows
        )


def approval_id_of(wanted: Wanted, kind: str) -> str:
    """Return the short id by which a person approves."""
    text = f"{wanted.resource_id}/{wanted.body_sha256}/{kind}"
    return hashlib.sha256(text.encode()).hexdigest()[:_ID_CHARS]
