"""Records to store, with every field set that a test does not care about."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from fedcore.words import ParticipantKind, Phase
from fedhub.domain.models import (
    Chart,
    Endpoint,
    Event,
    Federation,
    Operation,
    OperationTarget,
    Participant,
    PlannedDocument,
    ResourceKind,
    Site,
    SiteCertificate,
    StoredStatus,
)
from fedhub.domain.phases import OperationState, SiteState
from fedhub.store import federations, participants, sites
from fedhub.store.tables import SettingTable, table_of
from fedproto.agent.v1 import document_pb2, status_pb2
from fedsql.engine import Database
from fedsql.statements import upsert

T = TypeVar("T")
NOW = datetime(2026, 11, 23, 12, 0, 0, 123456, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def _with(record: T, changes: dict[str, Any]) -> T:
    return replace(record, **changes)  # type: ignore[type-var]


def a_site(name: str = "alpha", **changes: Any) -> Site:
    site = Site(
        id=f"site-{name}",
        name=name,
        state=SiteState.INVITED,
        state_since=NOW,
        created_at=NOW,
        labels={"zone": "north"},
        inventory={"storage_classes": ["standard"], "nodes": 3},
        findings=({"code": "ClockSkew", "hint": "set the clock"},),
    )
    return _with(site, changes)


def an_endpoint(site_id: str = "site-alpha", **changes: Any) -> Endpoint:
    endpoint = Endpoint(
        id=f"endpoint-of-{site_id}", site_id=site_id, name="alpha", mode="auto", created_at=NOW
    )
    return _with(endpoint, changes)


def a_federation(name: str = "credit", **changes: Any) -> Federation:
    federation = Federation(
        id=f"fed-{name}",
        name=name,
        domain=f"{name}.example.com",
        release="1.8.0",
        intent={"name": name, "parties": [{"id": 9999}]},
        revision=1,
        created_at=NOW,
        updated_at=NOW,
    )
    return _with(federation, changes)


def a_participant(party_id: int = 9999, **changes: Any) -> Participant:
    is_exchange = party_id == 0
    key = "exchange" if is_exchange else str(party_id)
    participant = Participant(
        id=f"p-{party_id}",
        federation_id="fed-credit",
        site_id="site-alpha",
        key=key,
        role=ParticipantKind.EXCHANGE if is_exchange else ParticipantKind.CLUSTER,
        party_id=party_id,
        name=f"credit/{key}",
        namespace=f"fate-{key}",
        created_at=NOW,
    )
    return _with(participant, changes)


def a_document(resource_id: str = "p-9999", **changes: Any) -> PlannedDocument:
    document = PlannedDocument(
        resource_id=resource_id,
        site_id="site-alpha",
        kind=ResourceKind.PARTICIPANT,
        absent=False,
        spec=document_pb2.ParticipantSpec(namespace="fate-9999"),
        digest="d1",
    )
    return _with(document, changes)


def a_status(resource_id: str = "p-9999", **changes: Any) -> StoredStatus:
    status = StoredStatus(
        resource_id=resource_id,
        site_id="site-alpha",
        observed_generation=1,
        digest="d1",
        phase=Phase.READY,
        reason="AllReady",
        message="every component is ready",
        since=NOW,
        reported_at=NOW + SECOND,
        status=status_pb2.ResourceStatus(resource_id=resource_id, leftovers=["pvc/data"]),
    )
    return _with(status, changes)


def an_operation(number: int = 1, *targets: OperationTarget, **changes: Any) -> Operation:
    operation = Operation(
        id=f"op-{number:04}",
        kind="apply",
        subject="federation/credit",
        federation_id="fed-credit",
        requested_by_id="token-1",
        requested_by="admin",
        state=OperationState.RUNNING,
        created_at=NOW + number * SECOND,
        ended_at=None,
        message="",
        targets=targets,
    )
    return _with(operation, changes)


def an_event(kind: str = "site.online", **changes: Any) -> Event:
    event = Event(
        id=0,
        occurred_at=NOW,
        recorded_at=NOW + SECOND,
        kind=kind,
        severity="info",
        message=f"{kind} happened",
        site_id="site-alpha",
        facts={"count": "1"},
    )
    return _with(event, changes)


def spooled(*sequences: int, spool_id: str = "spool-1") -> list[Event]:
    return [an_event(spool_id=spool_id, seq=seq, message=f"event {seq}") for seq in sequences]


def a_chart(version: str = "1.8.0", **changes: Any) -> Chart:
    chart = Chart(
        sha256=f"sha-{version}",
        name="fate",
        version=version,
        app_version=version,
        size_bytes=10,
        uploaded_at=NOW,
        uploaded_by="admin",
    )
    return _with(chart, changes)


def a_certificate(serial: str = "a1", **changes: Any) -> SiteCertificate:
    certificate = SiteCertificate(
        serial=serial,
        profile="pulsar",
        site_id="site-alpha",
        resource_id="p-9999",
        secret_name="pulsar-cert",
        dns_names=("9999.credit.example.com",),
        not_before=NOW,
        not_after=NOW + timedelta(days=90),
        issued_at=NOW,
    )
    return _with(certificate, changes)


async def populate(database: Database, *parties: int) -> None:
    """Store a site, a federation and participants of it."""
    async with database.begin() as db:
        await sites.add(db, a_site())
        await federations.add(db, a_federation())
        for party_id in parties:
            await participants.add(db, a_participant(party_id))


async def put_setting(db: AsyncSession, name: str, value: str) -> None:
    """Write a row of the plainest table over the one before: for what transactions do."""
    statement = upsert(db, table_of(SettingTable)).values(name=name, value=value)
    await db.execute(
        statement.on_conflict_do_update(
            index_elements=["name"], set_={"value": statement.excluded.value}
        )
    )


async def setting(db: AsyncSession, name: str) -> str | None:
    """Read a row that ``put_setting`` wrote, or None."""
    table = table_of(SettingTable)
    return await db.scalar(select(table.c.value).where(table.c.name == name))
