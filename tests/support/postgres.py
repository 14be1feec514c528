"""A private PostgreSQL server for the tests: a Unix socket, no durability, a database per test."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest
from sqlalchemy import text
from tests.support.patience import patient

from fedhub.store.engine import open_database
from fedhub.store.tables import Base
from fedsql.engine import Database

ABSENT: Final = "the PostgreSQL server programs are absent: apt-get install postgresql"
_SETTINGS: Final = {
    "listen_addresses": "",
    "fsync": "off",
    "full_page_writes": "off",
    "shared_buffers": "32MB",
    "max_connections": "100",
    "autovacuum": "off",
    "log_min_messages": "warning",
}


def server_programs() -> Path | None:
    """Find the folder of the newest server's programs (Debian keeps them out of PATH)."""
    folders = Path("/usr/lib/postgresql").glob("*/bin")
    installed = [folder for folder in folders if (folder / "initdb").exists()]
    if installed:
        return max(installed, key=lambda folder: int(folder.parent.name.split(".")[0]))
    found = shutil.which("initdb")
    return Path(found).parent if found is not None else None


@dataclass(slots=True)
class PostgresCluster:
    """One server and its folder. The server refuses to run as root: then it runs as nobody."""

    programs: Path
    folder: Path
    server: subprocess.Popen[bytes] | None = None
    spare: list[str] = field(default_factory=list)
    """Migrated databases that are empty again: emptying one is quicker than making one."""

    def create(self) -> None:
        """Make an empty cluster; about a second."""
        folder = self.folder
        if os.geteuid() == 0:
            os.chown(folder, *self._owner())
        argv = [str(self.programs / "initdb"), "-D", str(folder / "data"), "-U", "postgres"]
        options = ["-A", "trust", "-N", "-E", "UTF8", "--locale=C.UTF-8"]
        self._run([*argv, *options])

    def start(self) -> None:
        """Start the server and wait until it answers. The kernel ends it if the tests die."""
        settings = [part for name, value in _SETTINGS.items() for part in ("-c", f"{name}={value}")]
        with (self.folder / "log").open("ab") as log:
            self.server = subprocess.Popen(  # noqa: S603 - the system's own server
                [  # noqa: S607 - util-linux
                    "setpriv",
                    "--pdeathsig",
                    "QUIT",
                    "--",
                    str(self.programs / "postgres"),
                    *("-D", str(self.folder / "data"), "-k", str(self.folder)),
                    *settings,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                start_new_session=True,
                **self._identity(),
            )
        self._wait_until_ready()

    def _wait_until_ready(self) -> None:
        ready = [str(self.programs / "pg_isready"), "-q", "-h", str(self.folder)]
        deadline = time.monotonic() + patient()
        while subprocess.run(ready, check=False).returncode != 0:  # noqa: S603 - as above
            ended = self.server is not None and self.server.poll() is not None
            if ended or time.monotonic() > deadline:
                tail = (self.folder / "log").read_text(errors="replace")[-2000:]
                raise RuntimeError(f"PostgreSQL did not start:\n{tail}")
            time.sleep(0.02)

    def stop(self, *, crash: bool = False) -> None:
        """Stop the server, breaking its connections; ``crash`` gives it no time to finish."""
        if self.server is None:
            return
        if self.server.poll() is None:
            self.server.send_signal(signal.SIGQUIT if crash else signal.SIGINT)
        try:
            self.server.wait(timeout=patient())
        except subprocess.TimeoutExpired:
            self.server.kill()
            self.server.wait(timeout=patient())
        self.server = None

    def new_database(self) -> str:
        """Make a database without tables and return its URL."""
        name = f"t_{secrets.token_hex(6)}"
        self.execute(f'CREATE DATABASE "{name}"')
        return self.url(name)

    def url(self, database: str) -> str:
        """Return the URL of a database at this server."""
        return f"postgresql://postgres@/{database}?host={self.folder}"

    def execute(self, statement: str, database: str = "postgres") -> None:
        """Run a statement outside of any transaction."""
        argv = [str(self.programs / "psql"), "-qX", "-v", "ON_ERROR_STOP=1"]
        where = ["-h", str(self.folder), "-U", "postgres", "-d", database, "-c", statement]
        self._run([*argv, *where])

    def _run(self, argv: list[str]) -> None:
        done = subprocess.run(  # noqa: S603 - the system's own programs
            argv,
            check=False,
            capture_output=True,
            cwd=self.folder,
            timeout=patient(),
            **self._identity(),
        )
        if done.returncode != 0:
            raise RuntimeError(f"{Path(argv[0]).name}: {done.stderr.decode(errors='replace')}")

    def _identity(self) -> dict[str, Any]:
        if os.geteuid() != 0:
            return {}
        user, group = self._owner()
        return {"user": user, "group": group, "extra_groups": []}

    @staticmethod
    def _owner() -> tuple[int, int]:
        nobody = pwd.getpwnam("nobody")
        return nobody.pw_uid, nobody.pw_gid


@contextmanager
def running_postgres() -> Iterator[PostgresCluster]:
    """Run a server of its own; skip loudly where there is none."""
    programs = server_programs()
    if programs is None:
        pytest.skip(ABSENT)
    # Not pytest's folder: a socket's path may have 107 characters.
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    cluster = PostgresCluster(programs, folder)
    try:
        cluster.create()
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)


_SHARED: Final = pytest.StashKey[PostgresCluster]()


@pytest.fixture(scope="session")
def postgres_cluster(request: pytest.FixtureRequest) -> Iterator[PostgresCluster]:
    """The session's server, shared by all folders: import this fixture in their conftest."""
    known = request.config.stash.get(_SHARED, None)
    if known is not None:
        yield known
        return
    with running_postgres() as cluster:
        request.config.stash[_SHARED] = cluster
        yield cluster
        del request.config.stash[_SHARED]


@asynccontextmanager
async def postgres_database(cluster: PostgresCluster) -> AsyncIterator[Database]:
    """Open a migrated, empty database of the test's own."""
    url = cluster.spare.pop() if cluster.spare else cluster.new_database()
    database = open_database(url)
    await database.migrate()
    try:
        yield database
        await _empty(database)
        cluster.spare.append(url)
    finally:
        await database.dispose()


async def _empty(database: Database) -> None:
    """Delete all rows, in any order: foreign keys are not looked at meanwhile."""
    async with database.begin() as db:
        await db.execute(text("SET LOCAL session_replication_role = replica"))
        for table in Base.metadata.tables.values():
            await db.execute(table.delete())
