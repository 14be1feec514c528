"""Route tables as computed, beside what the sites deployed and probed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession

from fedhub.domain.access import Permission, Principal
from fedhub.domain.models import Federation, Participant, StoredDocument, StoredStatus
from fedhub.planner.plan import plan
from fedhub.services.context import HubContext
from fedhub.services.federations import require
from fedhub.services.intents import Unplannable
from fedhub.services.planning import load_plan_input
from fedhub.store import documents, participants, sites, statuses
from fedproto.agent.v1 import document_pb2, status_pb2

TABLE_NAMES: Mapping[int, str] = {
    document_pb2.TABLE_KIND_SNI: "sni",
    document_pb2.TABLE_KIND_NGINX: "nginx",
    document_pb2.TABLE_KIND_PULSAR: "pulsar",
}


@dataclass(frozen=True, slots=True)
class RouteRow:
    """One entry of one table; ``deployed`` and ``probe`` come from the site's last report."""

    participant: str
    site: str
    table: str
    config_map: str
    key: str
    host: str
    port: int
    generation: int
    deployed: bool
    probe: str
    probe_message: str


@dataclass(frozen=True, slots=True)
class RoutesView:
    """Every table of a federation, and the participants that have no route yet and why."""

    federation: Federation
    rows: tuple[RouteRow, ...]
    unrouted: Mapping[str, str]


async def view(hub: HubContext, principal: Principal, name: str) -> RoutesView:
    """Return the routes of federation ``name``."""
    principal.require(Permission.READ)
    async with hub.database.read() as db:
        federation = await require(db, name)
        members = await participants.of_federation(db, federation.id)
        current = await documents.of_resources(db, [row.id for row in members])
        reported = await statuses.of_resources(db, list(current))
        names = await sites.names(db)
        unrouted = await _left_out(hub, db, federation)
    rows: list[RouteRow] = []
    for row in members:
        if row.id in current:
            rows += _rows(row, names[row.site_id], current[row.id], reported.get(row.id))
    return RoutesView(federation, tuple(rows), unrouted)


async def _left_out(hub: HubContext, db: AsyncSession, federation: Federation) -> dict[str, str]:
    try:
        given = await load_plan_input(hub, db, federation, with_documents=False)
    except Unplannable as held:
        return {federation.name: held.message}
    people = {member.participant.id: member.participant.name for member in given.members}
    return {
        people[one.participant_id]: f"{one.reason}: {one.message}"
        for one in plan(given, scope=frozenset()).unrouted
    }


def _rows(
    row: Participant, site: str, document: StoredDocument, status: StoredStatus | None
) -> list[RouteRow]:
    spec = document_pb2.ParticipantSpec.FromString(document.spec_bytes)
    tables = {t.kind: t for t in status.status.tables} if status is not None else {}
    probes = {p.key.lower(): p for p in status.status.probes} if status is not None else {}
    rows = []
    for table in spec.tables:
        found = tables.get(table.kind)
        for entry in table.entries:
            probe = (
                probes.get(entry.key.lower()) if table.kind == document_pb2.TABLE_KIND_SNI else None
            )
            rows.append(
                RouteRow(
                    participant=row.name,
                    site=site,
                    table=TABLE_NAMES[table.kind],
                    config_map=table.config_map,
                    key=entry.key,
                    host=entry.host,
                    port=entry.port,
                    generation=document.generation,
                    deployed=found is not None and entry.key not in found.missing,
                    probe=probe_word(probe.state) if probe is not None else "",
                    probe_message=probe.message if probe is not None else "",
                )
            )
    return rows


def probe_word(state: status_pb2.ProbeState.ValueType) -> str:
    """Turn PROBE_STATE_NOT_SERVED into NotServed."""
    name = status_pb2.ProbeState.Name(state).removeprefix("PROBE_STATE_")
    return "".join(part.capitalize() for part in name.split("_"))
