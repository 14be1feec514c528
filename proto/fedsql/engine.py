"""The database: its connections, its transactions, and the lock under which it is migrated.

SQLite has one writer. Its only write connection is handed out first come, first served, each
transaction begun with BEGIN IMMEDIATE; readers have connections of their own and, by WAL, neither
wait for the writer nor hold it up.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, Connection, Engine, event, make_url, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import (
    AsyncConnection,
    AsyncEngine,
    AsyncSession,
    async_sessionmaker,
    create_async_engine,
)
from sqlalchemy.orm import Session

from fedcore.errors import Internal, Unavailable
from fedcore.files import make_private
from fedsql.errors import translate, unavailable
from fedsql.timing import DatabaseTiming

SQLITE_READERS: Final = 8
POSTGRES_CONNECTIONS: Final = 10
POSTGRES_EXTRA_CONNECTIONS: Final = 10
_DRIVERS: Final = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """What a program brings along: its name, its migrations, its kind of session."""

    application: str
    """Name of the program, as PostgreSQL lists its connections."""

    upgrade: Callable[[Connection], None]
    """Bring the schema to the newest revision within the connection's transaction."""

    migration_lock: int
    """Key of the advisory lock under which the program migrates; one for each program."""

    session_class: type[Session] = Session

    session_info: Mapping[str, Any] = field(default_factory=dict)
    """What each session carries in its ``info``."""


class Database:
    """One SQL database: ``sqlite:///path/to/file`` or ``postgresql://user@host/name``.

    A connection that fails, a lock that does not come and a pool that is empty are raised as
    ``Unavailable``, broken constraints as ``Conflict``; in each case nothing was stored. Only a
    commit whose answer got lost may have been carried out: callers can repeat what they do.

    ``observe_wait`` hears how long each transaction (``read`` or ``write``) waited to begin.
    """

    def __init__(
        self,
        url: str,
        schema: Schema,
        timing: DatabaseTiming,
        *,
        observe_wait: Callable[[str, float], None] = lambda _mode, _seconds: None,
    ) -> None:
        self._url = _with_driver(url)
        self._schema = schema
        self._timing = timing
        self._observe_wait = observe_wait
        self.is_sqlite = self._url.get_backend_name() == "sqlite"
        self._writer = self._sqlite_engine(write=True) if self.is_sqlite else self._postgres()
        self._reader = (
            self._sqlite_engine(write=False)
            if self.is_sqlite
            else self._writer.execution_options(
                isolation_level="REPEATABLE READ", postgresql_readonly=True
            )
        )
        self.sessions = _sessions(self._writer, schema)
        self._read_sessions = _sessions(self._reader, schema)
        self._writing: set[asyncio.Task[Any]] = set()
        # The pool alone would let a newcomer take the writer before those who wait for it.
        self._turn = asyncio.Lock() if self.is_sqlite else nullcontext()

    def _postgres(self) -> AsyncEngine:
        return create_async_engine(
            self._url,
            hide_parameters=True,
            pool_size=POSTGRES_CONNECTIONS,
            max_overflow=POSTGRES_EXTRA_CONNECTIONS,
            pool_timeout=self._timing.pool_limit_s,
            pool_pre_ping=True,
            connect_args={
                "timeout": self._timing.connect_limit_s,
                "server_settings": _postgres_settings(self._schema.application, self._timing),
            },
        )

    def _sqlite_engine(self, *, write: bool) -> AsyncEngine:
        engine = create_async_engine(
            self._url,
            hide_parameters=True,
            pool_size=1 if write else SQLITE_READERS,
            max_overflow=0,
            pool_timeout=self._timing.pool_limit_s,
        )
        _prepare_sqlite(engine.sync_engine, write=write, busy_s=self._timing.sqlite_busy_s)
        return engine

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncSession]:
        """Open a transaction that commits at the end and rolls back on any exception.

        A task that already has one open gets Internal: on SQLite it would wait for itself.
        """
        task = asyncio.current_task()
        if task is None or task in self._writing:
            raise Internal("a transaction was begun inside another one of the same task")
        self._writing.add(task)
        try:
            async with self._transaction(self.sessions, "write", turn=self._turn) as db:
                yield db
                await db.commit()
        finally:
            self._writing.discard(task)

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncSession]:
        """Open a read-only transaction: everything in it is seen as of its first query."""
        async with self._transaction(self._read_sessions, "read", turn=nullcontext()) as db:
            yield db

    @asynccontextmanager
    async def _transaction(
        self,
        sessions: async_sessionmaker[AsyncSession],
        mode: str,
        *,
        turn: AbstractAsyncContextManager[None],
    ) -> AsyncIterator[AsyncSession]:
        limit = asyncio.timeout(self._timing.transaction_limit_s)
        asked_at = time.monotonic()
        try:
            async with limit, turn, sessions() as db:
                await _connect(db)
                self._observe_wait(mode, time.monotonic() - asked_at)
                yield db
        except SQLAlchemyError as error:
            translated = translate(error)
            if translated is None:
                raise
            raise translated from error
        except ConnectionError as error:
            raise unavailable(error) from error
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise unavailable(error) from error

    async def migrate(self) -> None:
        """Bring the schema to the newest revision; safe when several processes start at once."""
        if self.is_sqlite:
            await asyncio.to_thread(_make_private, Path(self._url.database or ""))
        try:
            async with self._writer.begin() as connection:
                await self._lock_for_migration(connection)
                await connection.run_sync(self._schema.upgrade)
        except OSError as error:
            raise unavailable(error) from error
        except SQLAlchemyError as error:
            translated = translate(error)
            if translated is None:
                raise
            raise translated from error

    async def _lock_for_migration(self, connection: AsyncConnection) -> None:
        """Wait for other processes; SQLite's lock came with BEGIN IMMEDIATE."""
        if not self.is_sqlite:
            await connection.execute(text("SET LOCAL lock_timeout = 0"))
            await connection.execute(text("SET LOCAL statement_timeout = '300s'"))
            await connection.execute(
                text("SELECT pg_advisory_xact_lock(:key)"), {"key": self._schema.migration_lock}
            )

    async def ping(self) -> None:
        """Raise Unavailable unless the database answers within ``ping_limit_s``."""
        try:
            async with asyncio.timeout(self._timing.ping_limit_s), self.read() as db:
                await db.execute(text("SELECT 1"))
        except TimeoutError as error:
            raise unavailable(error) from error

    async def dispose(self) -> None:
        """Close all connections."""
        await self._reader.dispose()
        await self._writer.dispose()


def _with_driver(url: str) -> URL:
    parsed = make_url(url)
    backend = parsed.get_backend_name()
    if backend not in _DRIVERS:
        raise ValueError(f"the database must be sqlite or postgresql, not {backend}")
    if backend == "sqlite" and parsed.database in {None, "", ":memory:"}:
        raise ValueError("SQLite needs a file: sqlite:///path/to/file.db")
    return parsed.set(drivername=_DRIVERS[backend])


def _postgres_settings(application: str, timing: DatabaseTiming) -> dict[str, str]:
    return {
        "application_name": application,
        "timezone": "UTC",
        # To compile a statement takes longer than to run one of ours.
        "jit": "off",
        "statement_timeout": _milliseconds(timing.statement_limit_s),
        "lock_timeout": _milliseconds(timing.lock_limit_s),
        "idle_in_transaction_session_timeout": _milliseconds(timing.idle_limit_s),
    }


def _milliseconds(seconds: float) -> str:
    return str(round(seconds * 1000))


def _sessions(engine: AsyncEngine, schema: Schema) -> async_sessionmaker[AsyncSession]:
    return async_sessionmaker(
        engine,
        sync_session_class=schema.session_class,
        info=dict(schema.session_info),
        expire_on_commit=False,
        autoflush=False,
    )


async def _connect(db: AsyncSession) -> None:
    """Take a connection now, so that its failures are told apart from those of the caller."""
    try:
        _ = await db.connection()
    except (OSError, DBAPIError) as error:
        raise unavailable(error) from error


def _prepare_sqlite(engine: Engine, *, write: bool, busy_s: float) -> None:
    """Set up each connection, and begin transactions ourselves: the driver would begin too late."""
    begin = "BEGIN IMMEDIATE" if write else "BEGIN"

    @event.listens_for(engine, "connect")
    def _set_up(connection: Any, _record: object) -> None:
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in (
            f"busy_timeout = {_milliseconds(busy_s)}",
            "journal_mode = WAL",
            # FULL: what was acknowledged to an agent survives a power cut.
            "synchronous = FULL",
            "foreign_keys = ON",
            f"query_only = {'OFF' if write else 'ON'}",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "invalidate")
    def _let_go(connection: Any, _record: object, _error: object) -> None:
        """Roll back what a cancelled call left open.

        The driver's thread is still in the call, and closing the connection after it would keep
        the transaction, and SQLite's only write lock, until the cursor is garbage-collected.
        """
        connection.rollback()

    @event.listens_for(engine, "begin")
    def _begin(connection: Any) -> None:
        connection.exec_driver_sql(begin)


def _make_private(path: Path) -> None:
    """Create the file for its owner alone: it holds sealed keys. SQLite's side files follow it."""
    try:
        make_private(path)
    except OSError as error:
        raise Unavailable(f"the database file {path} cannot be made: {error.strerror}") from error
