from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.support.postgres import postgres_cluster

from fedhub.store.engine import open_database
from fedsql.engine import Database

__all__ = ["postgres_cluster"]


@pytest.fixture
async def sqlite(tmp_path: Path) -> AsyncIterator[Database]:
    database = open_database(f"sqlite:///{tmp_path / 'hub.db'}")
    await database.migrate()
    yield database
    await database.dispose()
