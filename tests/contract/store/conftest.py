"""The store on each of its databases."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.support.postgres import PostgresCluster, postgres_cluster, postgres_database

from fedhub.store.engine import open_database
from fedsql.engine import Database

__all__ = ["postgres_cluster"]

BACKENDS = ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)]


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> PostgresCluster | None:
    """The PostgreSQL server, or None for SQLite."""
    if request.param == "sqlite":
        return None
    return request.getfixturevalue("postgres_cluster")


@pytest.fixture
async def database(
    backend: PostgresCluster | None, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Database]:
    if backend is not None:
        async with postgres_database(backend) as opened:
            yield opened
        return
    opened = open_database(f"sqlite:///{await _copy(tmp_path, tmp_path_factory)}")
    yield opened
    await opened.dispose()


async def _copy(folder: Path, factory: pytest.TempPathFactory) -> Path:
    """Copy a file that was migrated once: quicker than migrating each."""
    template = factory.getbasetemp() / "migrated.db"
    if not template.exists():
        blank = open_database(f"sqlite:///{template}")
        await blank.migrate()
        await blank.dispose()
    return shutil.copy(template, folder / "hub.db")
