"""The hub's database: the shared engine with the hub's tables, migrations and event order."""

from __future__ import annotations

import asyncio
from typing import Final

from fedhub.instruments import Instruments
from fedhub.store.events import APPENDED, EventSession
from fedhub.store.migrations.upgrade import upgrade
from fedsql.engine import Database, Schema
from fedsql.timing import DatabaseTiming

_MIGRATION_LOCK: Final = 0x0F_ED_00_01


def open_database(
    url: str,
    timing: DatabaseTiming | None = None,
    *,
    appended: asyncio.Event | None = None,
    instruments: Instruments | None = None,
) -> Database:
    """Describe the hub's database at ``url``; nothing is connected before it is used.

    ``appended`` is set whenever a transaction of this process committed events.
    """
    schema = Schema(
        application="fedhub",
        upgrade=upgrade,
        migration_lock=_MIGRATION_LOCK,
        session_class=EventSession,
        session_info={APPENDED: appended},
    )
    waits = (instruments or Instruments()).database_wait

    def observe(mode: str, seconds: float) -> None:
        waits.labels(mode).observe(seconds)

    return Database(url, schema, timing or DatabaseTiming(), observe_wait=observe)
