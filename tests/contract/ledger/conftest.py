"""Every ledger that must keep the contract; the SQL ones register themselves in ``LEDGERS``."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Final

import pytest

from fedca.ledger import Ledger, MemoryLedger

LedgerFactory = Callable[[Path], AbstractAsyncContextManager[Ledger]]


@asynccontextmanager
async def memory_ledger(_folder: Path) -> AsyncIterator[Ledger]:
    yield MemoryLedger()


LEDGERS: Final[dict[str, LedgerFactory]] = {"memory": memory_ledger}
"""Name to a factory of an empty ledger; the folder is its own and temporary."""


@pytest.fixture(params=list(LEDGERS))
async def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Ledger]:
    async with LEDGERS[request.param](tmp_path) as opened:
        yield opened
