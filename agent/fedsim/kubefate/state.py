"""Keep the service's tables, in memory and, as MariaDB would, in a file.

The file is SQLite with one row per record. It is committed before a change is answered, without
fsync: it outlives the process, not the machine. A commit takes well under a millisecond, so it is
done in the loop.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

from pydantic import TypeAdapter

from fedsim.kubefate.clock import Clock
from fedsim.kubefate.records import Cluster, HelmChart, Job, Row

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS record (kind TEXT, id INTEGER, body TEXT, PRIMARY KEY (kind, id));
CREATE TABLE IF NOT EXISTS fact (name TEXT PRIMARY KEY, value TEXT);
"""


class RecordNotFoundError(LookupError):
    """No such record; the text is gorm's."""

    def __init__(self) -> None:
        super().__init__("record not found")


R = TypeVar("R", bound=Row)


class Table(Generic[R]):
    """One table. Deleted rows stay, with ``deleted_at`` set, as gorm keeps them."""

    def __init__(self, database: Database, row: type[R], clock: Clock) -> None:
        self._database = database
        self._kind = row.__name__
        self._adapter = TypeAdapter(row)
        self._clock = clock
        self._rows: dict[int, R] = {}
        for number, body in database.rows(self._kind):
            self._rows[number] = self._adapter.validate_json(body)
        self._last = max(self._rows, default=0)

    def all(self, *, deleted: bool = False) -> Iterator[R]:
        """Return the rows in the order of their ids."""
        return (row for row in list(self._rows.values()) if deleted or row.deleted_at is None)

    def find(self, test: Callable[[R], bool]) -> R | None:
        """Return the first living row that passes the test."""
        return next((row for row in self.all() if test(row)), None)

    def get(self, test: Callable[[R], bool]) -> R:
        """Return the first living row that passes the test; raise RecordNotFoundError."""
        row = self.find(test)
        if row is None:
            raise RecordNotFoundError
        return row

    def add(self, row: R) -> R:
        """Give the row its id and times, and keep it."""
        self._last += 1
        row.id = self._last
        row.created_at = self._clock.now()
        self._rows[row.id] = row
        self.save(row)
        return row

    def save(self, row: R) -> None:
        """Write a changed row; does nothing for a row that the table no longer holds, as SQL."""
        if row.id not in self._rows:
            return
        row.updated_at = self._clock.now()
        self._database.write(self._kind, row.id, self._adapter.dump_json(row).decode())

    def delete(self, row: R) -> None:
        """Delete a row softly."""
        row.deleted_at = self._clock.now()
        self.save(row)

    def clear(self) -> None:
        """Forget every row."""
        self._rows.clear()
        self._last = 0


class Database:
    """The SQLite file, or nothing."""

    def __init__(self, path: Path | None) -> None:
        self._connection: sqlite3.Connection | None = None
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600)
            self._connection = sqlite3.connect(path, isolation_level=None)
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=OFF")
            self._connection.executescript(_SCHEMA)

    def rows(self, kind: str) -> list[tuple[int, str]]:
        """Return ids and bodies of a table."""
        query = "SELECT id, body FROM record WHERE kind = ? ORDER BY id"
        return [(int(number), str(body)) for number, body in self._run(query, kind)]

    def write(self, kind: str, number: int, body: str) -> None:
        """Insert or replace a row."""
        self._run("INSERT OR REPLACE INTO record VALUES (?, ?, ?)", kind, number, body)

    def empty(self) -> None:
        """Delete every row of every table; facts stay."""
        self._run("DELETE FROM record")

    def fact(self, name: str) -> str:
        """Return a remembered fact, or nothing."""
        rows = self._run("SELECT value FROM fact WHERE name = ?", name)
        return str(rows[0][0]) if rows else ""

    def remember(self, name: str, value: str) -> None:
        """Keep a fact over restarts."""
        self._run("INSERT OR REPLACE INTO fact VALUES (?, ?)", name, value)

    def close(self) -> None:
        """Close the file."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _run(self, statement: str, *values: object) -> list[Any]:
        if self._connection is None:
            return []
        return self._connection.execute(statement, values).fetchall()


class State:
    """All the tables of one service."""

    def __init__(self, path: Path | None, clock: Clock) -> None:
        self.database = Database(path)
        self.clusters = Table(self.database, Cluster, clock)
        self.jobs = Table(self.database, Job, clock)
        self.charts = Table(self.database, HelmChart, clock)

    def lose(self) -> None:
        """Forget everything, as when MariaDB's pod is replaced and had no volume."""
        self.database.empty()
        for table in (self.clusters, self.jobs, self.charts):
            table.clear()

    def close(self) -> None:
        """Close the file."""
        self.database.close()
