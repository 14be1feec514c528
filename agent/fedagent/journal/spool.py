"""Events kept on disk until the hub has committed them: numbered from 1, without a gap."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import aiosqlite

from fedagent.journal.database import Database
from fedcore import limits
from fedcore.errors import ErrorCode, FedError
from fedcore.ids import new_id
from fedproto.agent.v1 import event_pb2

_RESERVE: Final = 0.2
"""Share of the budget that only work already begun may use."""


class SpoolFull(FedError):
    """The spool has no room: new work waits until the hub has taken events."""

    code = ErrorCode.TOO_MANY


@dataclass(frozen=True, slots=True)
class SpoolPosition:
    """Where a spool stands. ``first_seq`` is 0 while it is empty; ``last_seq`` never goes back."""

    spool_id: str
    first_seq: int
    last_seq: int
    depth: int


class Spool:
    """The event spool. ``changed`` is set when there is something to send."""

    def __init__(
        self,
        database: Database,
        *,
        max_rows: int = limits.SPOOL_MAX_ROWS,
        max_bytes: int = limits.SPOOL_MAX_BYTES,
    ) -> None:
        self._database = database
        self._max_rows = max_rows
        self._max_bytes = max_bytes
        self._rows = 0
        self._bytes = 0
        self.changed = asyncio.Event()

    async def load(self) -> None:
        """Count what is there; called once at the start."""
        row = await self._database.row("SELECT count(*), coalesce(sum(size), 0) FROM spool")
        if row is not None:
            self._rows, self._bytes = int(row[0]), int(row[1])
        async with self._database.write() as connection:
            await connection.execute(
                "INSERT OR IGNORE INTO meta VALUES ('spool_id', ?)", (new_id(),)
            )

    @property
    def takes_new_work(self) -> bool:
        """Return whether there is room beyond the reserve; without it no new action is begun."""
        share = 1.0 - _RESERVE
        return self._rows < share * self._max_rows and self._bytes < share * self._max_bytes

    async def append(self, events: Iterable[event_pb2.Event]) -> None:
        """Store events on disk; raise SpoolFull when the whole budget is used."""
        async with self._database.write() as connection:
            added = await self.write_events(connection, events)
        self.count(added)

    async def write_events(
        self, connection: aiosqlite.Connection, events: Iterable[event_pb2.Event]
    ) -> tuple[int, int]:
        """Store events within a transaction; the caller hands the answer to ``count`` after it."""
        rows = size = 0
        for event in events:
            body = _shortened(event).SerializeToString()
            rows, size = rows + 1, size + len(body)
            if self._rows + rows > self._max_rows or self._bytes + size > self._max_bytes:
                raise SpoolFull("the event spool is full; waiting for the hub to take events")
            await connection.execute(
                "INSERT INTO spool (size, body) VALUES (?, ?)", (len(body), body)
            )
        return rows, size

    def count(self, added: tuple[int, int]) -> None:
        """Take the rows and bytes of a committed ``write_events`` into account."""
        self._rows += added[0]
        self._bytes += added[1]
        if added[0]:
            self.changed.set()

    async def batch(
        self,
        after_seq: int,
        *,
        max_events: int = limits.MAX_BATCH_EVENTS,
        max_bytes: int = limits.MAX_BATCH_BYTES,
    ) -> event_pb2.EventBatch | None:
        """Return the events that follow ``after_seq``, at least one, or None at the end."""
        rows = await self._database.rows(
            "SELECT seq, body FROM spool WHERE seq > ? ORDER BY seq LIMIT ?",
            (after_seq, max_events),
        )
        if not rows:
            return None
        batch = event_pb2.EventBatch(spool_id=(await self.position()).spool_id)
        size = 0
        for row in rows:
            size += len(row[1])
            if batch.events and size > max_bytes:
                break
            event = event_pb2.Event.FromString(row[1])
            event.seq = row[0]
            batch.events.append(event)
        return batch

    async def ack(self, spool_id: str, acked_through: int) -> None:
        """Drop events that the hub has committed; an ack of another spool is ignored."""
        async with self._database.write() as connection:
            cursor = await connection.execute(
                "DELETE FROM spool WHERE seq <= ?"
                " AND EXISTS (SELECT 1 FROM meta WHERE name='spool_id' AND value=?)"
                " RETURNING size",
                (acked_through, spool_id),
            )
            sizes = [int(row[0]) for row in await cursor.fetchall()]
        self._rows -= len(sizes)
        self._bytes -= sum(sizes)

    async def position(self) -> SpoolPosition:
        """Return where the spool stands, for Hello and heartbeats."""
        row = await self._database.row(
            "SELECT (SELECT value FROM meta WHERE name='spool_id'), coalesce(min(seq), 0),"
            " coalesce((SELECT seq FROM sqlite_sequence WHERE name='spool'), 0), count(*)"
            " FROM spool"
        )
        if row is None:
            raise RuntimeError("an aggregate query answered no row")
        return SpoolPosition(str(row[0]), int(row[1]), int(row[2]), int(row[3]))

    async def restart(self) -> str:
        """Begin a new spool id with the unsent events numbered from 1 again; return the id.

        For a disk that was set back: the hub then knows higher numbers than this file.
        """
        spool_id = new_id()
        async with self._database.write() as connection:
            cursor = await connection.execute("SELECT size, body FROM spool ORDER BY seq")
            kept = list(await cursor.fetchall())
            await connection.execute("DELETE FROM spool")
            await connection.execute("DELETE FROM sqlite_sequence WHERE name='spool'")
            await connection.executemany("INSERT INTO spool (size, body) VALUES (?, ?)", kept)
            await connection.execute("UPDATE meta SET value=? WHERE name='spool_id'", (spool_id,))
        self.changed.set()
        return spool_id


def _shortened(event: event_pb2.Event) -> event_pb2.Event:
    """Cut what would exceed the wire's limits: an oversized event must not wedge the queue."""
    if (
        len(event.message) <= limits.MAX_EVENT_MESSAGE_CHARS
        and event.ByteSize() <= limits.MAX_EVENT_BYTES
    ):
        return event
    short = event_pb2.Event()
    short.CopyFrom(event)
    short.message = event.message[: limits.MAX_EVENT_MESSAGE_CHARS]
    if short.ByteSize() > limits.MAX_EVENT_BYTES:
        short.facts.clear()
        short.facts["cut"] = "facts exceeded the limit"
    return short
