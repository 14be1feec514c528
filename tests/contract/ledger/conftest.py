"""Every ledger that must keep the contract."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final

import pytest
from tests.support.postgres import PostgresCluster, postgres_cluster, postgres_database

from fedca.ledger import Ledger, MemoryLedger
from fedhub.store.engine import open_database
from fedhub.store.ledger import SqlLedger

__all__ = ["postgres_cluster"]

LedgerFactory = Callable[[Path], AbstractAsyncContextManager[Ledger]]
POSTGRES: Final = "postgresql"


@asynccontextmanager
async def memory_ledger(_folder: Path) -> AsyncIterator[Ledger]:
    yield MemoryLedger()


@asynccontextmanager
async def sqlite_ledger(folder: Path) -> AsyncIterator[Ledger]:
    database = open_database(f"sqlite:///{folder / 'hub.db'}")
    await database.migrate()
    yield SqlLedger(database)
    await database.dispose()


@asynccontextmanager
async def postgres_ledger(cluster: PostgresCluster, _folder: Path) -> AsyncIterator[Ledger]:
    async with postgres_database(cluster) as database:
        yield SqlLedger(database)


LEDGERS: Final[dict[str, LedgerFactory]] = {"memory": memory_ledger, "sqlite": sqlite_ledger}
"""Name to a factory of an empty ledger; the folder is its own and temporary."""


@pytest.fixture(params=[*LEDGERS, pytest.param(POSTGRES, marks=pytest.mark.postgres)])
def factory(request: pytest.FixtureRequest) -> LedgerFactory:
    if request.param == POSTGRES:
        return partial(postgres_ledger, request.getfixturevalue("postgres_cluster"))
    return LEDGERS[request.param]


@pytest.fixture
async def ledger(factory: LedgerFactory, tmp_path: Path) -> AsyncIterator[Ledger]:
    async with factory(tmp_path) as opened:
        yield opened
