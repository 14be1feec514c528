from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import fields
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, inspect, text
from sqlalchemy.ext.asyncio import create_async_engine
from tests.support.patience import time_limit
from tests.support.postgres import PostgresCluster

from fedca import records as ca_records
from fedhub.domain import models
from fedhub.store import ledger_tables, tables
from fedhub.store.engine import open_database
from fedhub.store.migrations.upgrade import configuration, heads
from fedsql.engine import Database

_PARTS = re.compile(r" ?[,()] ?")
METADATA = ledger_tables.AuthorityTable.metadata


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'hub.db'}"
    cluster: PostgresCluster = request.getfixturevalue("postgres_cluster")
    return cluster.new_database()


@pytest.fixture
async def empty(url: str) -> AsyncIterator[Database]:
    database = open_database(url)
    yield database
    await database.dispose()


def test_there_is_one_head() -> None:
    assert len(heads()) == 1


def _differences(connection: Connection) -> list[object]:
    context = MigrationContext.configure(
        connection, opts={"compare_type": True, "compare_server_default": True}
    )
    return list(compare_metadata(context, METADATA))


async def _in_database(database: Database, inspector: object) -> object:
    async with database.sessions() as db:
        return await (await db.connection()).run_sync(inspector)


async def test_an_upgrade_from_nothing_gives_the_tables_of_the_code(empty: Database) -> None:
    await empty.migrate()
    assert await _in_database(empty, _differences) == []


async def test_every_table_and_index_is_created_with_the_same_words_as_the_code(
    tmp_path: Path,
) -> None:
    """What comparing does not see: collations, partial indexes, autoincrement."""
    migrated = open_database(f"sqlite:///{tmp_path / 'migrated.db'}")
    await migrated.migrate()
    await migrated.dispose()
    created = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'created.db'}")
    async with created.begin() as connection:
        await connection.run_sync(METADATA.create_all)
    await created.dispose()

    async def words(path: str) -> set[tuple[str, ...]]:
        engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / path}")
        async with engine.connect() as connection:
            rows = await connection.exec_driver_sql("SELECT sql FROM sqlite_master")
            # The order of the constraints at a table's end says nothing.
            found = {
                tuple(sorted(_PARTS.split(" ".join(row[0].split())))) for row in rows if row[0]
            }
        await engine.dispose()
        return {statement for statement in found if "alembic" not in str(statement)}

    assert await words("migrated.db") == await words("created.db")


@pytest.mark.postgres
async def test_text_sorts_by_code_point_on_postgres_too(
    postgres_cluster: PostgresCluster,
) -> None:
    database = open_database(postgres_cluster.new_database())
    await database.migrate()

    def collations(connection: Connection) -> set[tuple[str, str]]:
        inspector = inspect(connection)
        return {
            (table, column["name"])
            for table in METADATA.tables
            for column in inspector.get_columns(table)
            if getattr(column["type"], "collation", None) == "C"
        }

    found = await _in_database(database, collations)
    await database.dispose()
    assert {("sites", "name"), ("events", "kind"), ("site_certificates", "serial")} <= found


async def test_upgrading_again_changes_nothing(empty: Database) -> None:
    await empty.migrate()
    await empty.migrate()
    assert await _in_database(empty, _differences) == []


async def test_several_processes_that_start_at_once_migrate_once(url: str) -> None:
    starting = [open_database(url) for _ in range(4)]
    async with time_limit():
        await asyncio.gather(*(database.migrate() for database in starting))
    for database in starting:
        await database.ping()
        await database.dispose()


RECORDS = [
    (tables.SiteTable, models.Site),
    (tables.EndpointTable, models.Endpoint),
    (tables.FederationTable, models.Federation),
    (tables.ParticipantTable, models.Participant),
    (tables.DocumentTable, models.StoredDocument),
    (tables.StatusTable, models.StoredStatus),
    (tables.ChartTable, models.Chart),
    (tables.CertificateTable, models.SiteCertificate),
    (tables.AgentSessionTable, models.AgentSession),
    (ledger_tables.AuthorityTable, ca_records.AuthorityRecord),
    (ledger_tables.IssuanceTable, ca_records.IssuanceRecord),
    (ledger_tables.JoinTokenTable, ca_records.TokenRecord),
]


@pytest.mark.parametrize(("table", "record"), RECORDS, ids=lambda one: one.__name__)
def test_columns_are_the_fields_of_the_record(table: type[tables.Base], record: type) -> None:
    assert {c.name for c in table.__table__.c} == {each.name for each in fields(record)}


async def test_names_of_what_is_there_are_filled_in_for_operations_of_before(
    empty: Database,
) -> None:
    def upgrade_to_first(connection: Connection) -> None:
        config = configuration()
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")

    async with empty.begin() as db:
        await (await db.connection()).run_sync(upgrade_to_first)
    filled = """
        INSERT INTO sites (id, name, state, state_since, created_at, simulated, labels, inventory,
            findings)
            VALUES ('s', 'alpha', 'Online', '2026-01-01', '2026-01-01', false, '{}', '{}', '[]');
        INSERT INTO federations (id, name, domain, release, intent, revision, created_at,
            updated_at, removing)
            VALUES ('f', 'credit', 'a.b', '1.8.0', '{}', 1, '2026-01-01', '2026-01-01', false);
        INSERT INTO participants (id, federation_id, site_id, key, role, party_id, name, namespace,
            created_at, removing)
            VALUES ('p', 'f', 's', '9999', 'cluster', 9999, 'credit/9999', 'fate-9999',
            '2026-01-01', false);
        INSERT INTO endpoints (id, site_id, name, mode, created_at, removing)
            VALUES ('e', 's', 'alpha', 'auto', '2026-01-01', false);
        INSERT INTO operations (id, kind, subject, requested_by, state, created_at, message)
            VALUES ('o', 'apply', 'federation/credit', 'admin', 'Running', '2026-01-01', '');
        INSERT INTO operation_targets (operation_id, resource_id, generation, done)
            VALUES ('o', 'p', 1, false), ('o', 'e', 1, false), ('o', 'gone', 1, true)
    """
    async with empty.begin() as db:
        for statement in filled.split(";"):
            await db.execute(text(statement))
    await empty.migrate()
    async with empty.read() as db:
        found = await db.execute(text("SELECT resource_id, name FROM operation_targets"))
        names = {row.resource_id: row.name for row in found}
    assert names == {"p": "credit/9999", "e": "endpoint/alpha", "gone": None}


async def test_tokens_get_ids_and_what_their_names_did_is_theirs_by_id(empty: Database) -> None:
    def upgrade_to_second(connection: Connection) -> None:
        config = configuration()
        config.attributes["connection"] = connection
        command.upgrade(config, "0002")

    async with empty.begin() as db:
        await (await db.connection()).run_sync(upgrade_to_second)
    filled = """
        INSERT INTO api_tokens (name, token_sha256, permissions) VALUES ('admin', 'h', '[]');
        INSERT INTO operations (id, kind, subject, requested_by, state, created_at, message)
            VALUES ('o', 'apply', 'federation/credit', 'admin', 'Running', '2026-01-01', ''),
            ('p', 'apply', 'federation/credit', 'somebody', 'Running', '2026-01-01', '');
        INSERT INTO events (occurred_at, recorded_at, kind, severity, message, actor, facts)
            VALUES ('2026-01-01', '2026-01-01', 'k', 'info', '', 'admin', '{}'),
            ('2026-01-01', '2026-01-01', 'k', 'info', '', NULL, '{}')
    """
    async with empty.begin() as db:
        for statement in filled.split(";"):
            await db.execute(text(statement))
    await empty.migrate()
    async with empty.read() as db:
        token = await db.scalar(text("SELECT id FROM api_tokens"))
        requested = await db.scalars(text("SELECT requested_by_id FROM operations ORDER BY id"))
        actors = await db.scalars(text("SELECT actor_id FROM events ORDER BY id"))
        assert token
        assert requested.all() == [token, None]
        assert actors.all() == [token, None]
