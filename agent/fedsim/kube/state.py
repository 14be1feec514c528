"""The state file: objects written at change to SQLite, so that a restart keeps the cluster."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from pathlib import Path

from fedsim.kube.kinds import RESOURCES, Resource
from fedsim.kube.store import Change, ChangeType, Json, Store, dump

_SCHEMA = """
CREATE TABLE IF NOT EXISTS objects (
    plural TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL, body BLOB NOT NULL,
    PRIMARY KEY (plural, namespace, name)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""
_PUT = "INSERT OR REPLACE INTO objects (plural, namespace, name, body) VALUES (?, ?, ?, ?)"
_DROP = "DELETE FROM objects WHERE plural = ? AND namespace = ? AND name = ?"
_FACT = "INSERT OR REPLACE INTO facts (name, value) VALUES (?, ?)"


class StateFile:
    """Keeps a store's objects, and facts such as keys and tokens, in a file (mode 0600).

    Changes are gathered and written together by one thread at a time; `settle` waits until all
    changes so far are in the file.
    """

    def __init__(self, path: Path) -> None:
        path.touch(mode=0o600, exist_ok=True)
        path.chmod(0o600)
        self._database = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = NORMAL")
        self._database.executescript(_SCHEMA)
        self._dirty: dict[tuple[str, str, str], bytes | None] = {}
        self._version = 0
        self._writing = asyncio.Lock()

    def facts(self) -> dict[str, str]:
        """Return the facts kept so far."""
        return dict(self._database.execute("SELECT name, value FROM facts").fetchall())

    def keep(self, name: str, value: str) -> None:
        """Keep a fact, at once."""
        self._database.execute(_FACT, (name, value))

    def attach(self, store: Store) -> None:
        """Fill the store from the file, and follow its changes from now on."""
        by_plural = {resource.plural: resource for resource in RESOURCES}
        loaded: list[tuple[Resource, Json]] = [
            (by_plural[plural], json.loads(body))
            for plural, body in self._database.execute("SELECT plural, body FROM objects")
            if plural in by_plural
        ]
        store.load(loaded, int(self.facts().get("version", "0")))
        store.listen(self._note)

    def _note(self, change: Change) -> None:
        key = (change.resource.plural, change.namespace, change.name)
        self._dirty[key] = None if change.type is ChangeType.DELETED else dump(change.object)
        self._version = change.version

    async def settle(self) -> None:
        """Return when every change so far is in the file."""
        async with self._writing:
            if self._dirty:
                dirty, self._dirty = self._dirty, {}
                await asyncio.to_thread(self._write, dirty, self._version)

    def _write(self, dirty: dict[tuple[str, str, str], bytes | None], version: int) -> None:
        self._database.execute("BEGIN IMMEDIATE")
        for key, body in dirty.items():
            if body is None:
                self._database.execute(_DROP, key)
            else:
                self._database.execute(_PUT, (*key, body))
        self._database.execute(_FACT, ("version", str(version)))
        self._database.execute("COMMIT")

    async def close(self) -> None:
        """Write what is left, and close the file."""
        await self.settle()
        self._database.close()
