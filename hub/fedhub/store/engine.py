"""The hub's database: the shared engine with the hub's tables, migrations and event order."""

from __future__ import annotations

from typing import Final

from fedhub.store.events import EventSession
from fedhub.store.migrations.upgrade import upgrade
from fedsql.engine import Database, Schema
from fedsql.timing import DatabaseTiming

_MIGRATION_LOCK: Final = 0x0F_ED_00_01
_SCHEMA: Final = Schema(
    application="fedhub",
    upgrade=upgrade,
    migration_lock=_MIGRATION_LOCK,
    session_class=EventSession,
)


def open_database(url: str, timing: DatabaseTiming | None = None) -> Database:
    """Describe the hub's database at ``url``; nothing is connected before it is used."""
    return Database(url, _SCHEMA, timing or DatabaseTiming())
