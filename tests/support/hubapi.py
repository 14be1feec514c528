"""The hub's REST interface and its files, as a test asks them."""

from __future__ import annotations

import sqlite3
import ssl
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Self

import aiohttp
from sqlalchemy import text
from tests.support.lifecycle import Json
from tests.support.patience import patient

from fedsql.engine import Database


class Refused(AssertionError):
    """An answer that is no success: `status` and the problem's `body`."""

    def __init__(self, method: str, path: str, status: int, body: Any) -> None:
        super().__init__(f"{method} {path}: {status} {body}")
        self.status = status
        self.body = body


class HubApi:
    """Talks REST with the administrator's token, over verified TLS."""

    def __init__(self, url: str, state: Path) -> None:
        self._url = url
        self._state = state
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        context = ssl.create_default_context(cafile=str(self._state / "ca.pem"))
        token = (self._state / "admin.token").read_text().strip()
        self._session = aiohttp.ClientSession(
            f"{self._url}/api/v1/",
            connector=aiohttp.TCPConnector(ssl=context),
            headers={"Authorization": f"Bearer {token}"},
            timeout=aiohttp.ClientTimeout(total=patient()),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def call(
        self, method: str, path: str, body: Any = None, **query: str
    ) -> tuple[int, Json]:
        """Return status and body of an answer, whatever it is."""
        assert self._session is not None
        async with self._session.request(method, path, json=body, params=query) as answer:
            found = await answer.json(content_type=None) if answer.status != 204 else {}
            return answer.status, found

    async def _good(self, method: str, path: str, body: Any = None, **query: str) -> Json:
        status, found = await self.call(method, path, body, **query)
        if status >= 400:
            raise Refused(method, path, status, found)
        return found

    async def get(self, path: str, **query: str) -> Json:
        """Return the body of a GET; raise Refused."""
        return await self._good("GET", path, **query)

    async def put(self, path: str, body: Any, **query: str) -> Json:
        """Return the body of a PUT; raise Refused."""
        return await self._good("PUT", path, body, **query)

    async def post(self, path: str, body: Any = None, **query: str) -> Json:
        """Return the body of a POST; raise Refused."""
        return await self._good("POST", path, body, **query)

    async def send(self, path: str, body: bytes, kind: str) -> None:
        """POST a body of some other kind; it must be taken."""
        assert self._session is not None
        headers = {"Content-Type": kind}
        async with self._session.post(path, data=body, headers=headers) as answer:
            assert answer.status == 201, await answer.text()

    async def delete(self, path: str, **query: str) -> Json:
        """Return the body of a DELETE; raise Refused."""
        return await self._good("DELETE", path, **query)

    async def items(self, path: str, **query: str) -> list[Json]:
        """Return every row of a list, page after page."""
        rows: list[Json] = []
        cursor: dict[str, str] = {}
        while True:
            page = await self.get(path, limit="200", **query, **cursor)
            rows += page["items"]
            if not page["next_cursor"]:
                return rows
            cursor = {"cursor": page["next_cursor"]}


def read_rows(state: Path, statement: str) -> list[tuple[Any, ...]]:
    """Read the hub's SQLite file, while it runs or after it was killed."""
    with closing(sqlite3.connect(f"file:{state / 'hub.sqlite'}?mode=ro", uri=True)) as file:
        return file.execute(statement).fetchall()


_SPOOLED = "SELECT spool_id, seq FROM events WHERE spool_id IS NOT NULL ORDER BY seq"


def spooled_events(state: Path) -> dict[str, list[int]]:
    """Return the sequence numbers of the agents' events as the hub keeps them, by spool, sorted."""
    return _by_spool(read_rows(state, _SPOOLED))


async def spooled_events_in(database: Database) -> dict[str, list[int]]:
    """Do the same for a hub that does not keep them in a file of its own."""
    async with database.read() as db:
        return _by_spool((await db.execute(text(_SPOOLED))).all())


def _by_spool(rows: Iterable[Sequence[Any]]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = defaultdict(list)
    for spool_id, seq in rows:
        found[str(spool_id)].append(int(seq))
    return dict(found)


def journal_position(journal: Path) -> tuple[str, int, int]:
    """Return an agent's spool id, its last sequence number, and how many events still wait."""
    with closing(sqlite3.connect(f"file:{journal}?mode=ro", uri=True)) as file:
        (spool_id,) = file.execute("SELECT value FROM meta WHERE name = 'spool_id'").fetchone()
        last = file.execute("SELECT seq FROM sqlite_sequence WHERE name = 'spool'").fetchone()
        (depth,) = file.execute("SELECT COUNT(*) FROM spool").fetchone()
    return str(spool_id), int(last[0]) if last else 0, int(depth)


def tables_naming(state: Path, wanted: str) -> set[str]:
    """Return the tables of the hub's database in which a value occurs in any column."""
    found: set[str] = set()
    for (table,) in read_rows(state, "SELECT name FROM sqlite_master WHERE type = 'table'"):
        rows = read_rows(state, f'SELECT * FROM "{table}"')  # noqa: S608 - its own table names
        if any(wanted in str(value) for row in rows for value in row):
            found.add(str(table))
    return found
