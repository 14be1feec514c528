"""The journal: one file, one object, a part per subject."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from fedagent.journal.approvals import Approvals
from fedagent.journal.database import Database, open_database, to_text
from fedagent.journal.documents import Documents
from fedagent.journal.spool import Spool
from fedagent.journal.states import ResourceStates
from fedagent.journal.statuses import Statuses, write_status
from fedcore.clock import Clock
from fedcore.ids import new_id
from fedproto.agent.v1 import event_pb2, status_pb2


class Journal:
    """What link and reconcile share. Every write is on disk when its call returns."""

    def __init__(self, database: Database, clock: Clock, *, spool: Spool) -> None:
        self._database = database
        self._clock = clock
        self.documents = Documents(database, clock)
        self.statuses = Statuses(database)
        self.states = ResourceStates(database)
        self.approvals = Approvals(database)
        self.spool = spool
        self.instance_id = ""

    async def load(self) -> None:
        """Make the identifiers of a new file, read those of an old one."""
        await self.spool.load()
        async with self._database.write() as connection:
            await connection.execute(
                "INSERT OR IGNORE INTO meta VALUES ('instance_id', ?)", (new_id(),)
            )
        self.instance_id = await self.get_meta("instance_id")

    async def report(
        self, status: status_pb2.ResourceStatus, events: Sequence[event_pb2.Event] = ()
    ) -> bool:
        """Store a status and the events that led to it in one transaction; True when changed.

        Raises SpoolFull, and then stores neither.
        """
        async with self._database.write() as connection:
            stored = await write_status(connection, status)
            added = await self.spool.write_events(connection, events)
        self.spool.count(added)
        if stored:
            self.statuses.changed.set()
        return stored

    async def get_meta(self, name: str, default: str = "") -> str:
        """Return one named value of the agent itself."""
        row = await self._database.row("SELECT value FROM meta WHERE name=?", (name,))
        return default if row is None else str(row[0])

    async def put_meta(self, name: str, value: str) -> None:
        """Store one named value of the agent itself."""
        async with self._database.write() as connection:
            await connection.execute("INSERT OR REPLACE INTO meta VALUES (?,?)", (name, value))

    async def max_epoch(self) -> int:
        """Return the highest epoch that a hub has given this agent."""
        return int(await self.get_meta("max_epoch", "0"))

    async def raise_epoch(self, epoch: int) -> None:
        """Note an epoch; a lower one than the stored is ignored."""
        if epoch > await self.max_epoch():
            await self.put_meta("max_epoch", str(epoch))

    async def chart_uuid(self, service: str, sha256: str) -> str:
        """Return the uuid under which a KubeFATE service keeps an archive, or an empty text."""
        row = await self._database.row(
            "SELECT uuid FROM charts WHERE service=? AND sha256=?", (service, sha256)
        )
        return "" if row is None else str(row[0])

    async def put_chart(self, service: str, sha256: str, uuid: str) -> None:
        """Note that a KubeFATE service keeps an archive."""
        async with self._database.write() as connection:
            await connection.execute(
                "INSERT OR REPLACE INTO charts VALUES (?,?,?,?)",
                (service, sha256, uuid, to_text(self._clock.now())),
            )

    async def forget_charts(self, service: str) -> None:
        """Forget every archive of a service: its database was lost."""
        async with self._database.write() as connection:
            await connection.execute("DELETE FROM charts WHERE service=?", (service,))

    async def data_version(self) -> int:
        """Return a number that changes when another process has written (approve, retry)."""
        return await self._database.data_version()


@asynccontextmanager
async def open_journal(
    path: Path,
    *,
    clock: Clock,
    busy_limit_s: float = 5.0,
    max_rows: int | None = None,
    max_bytes: int | None = None,
) -> AsyncIterator[Journal]:
    """Open the agent's file and close it at the end. The bounds of the spool are for tests."""
    async with open_database(path, busy_limit_s=busy_limit_s) as database:
        bounds = {
            name: value
            for name, value in (("max_rows", max_rows), ("max_bytes", max_bytes))
            if value is not None
        }
        journal = Journal(database, clock, spool=Spool(database, **bounds))
        await journal.load()
        yield journal
