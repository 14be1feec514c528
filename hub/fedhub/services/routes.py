"""Route tables as computed, beside what the sites deployed and probed.

| column      | from                                                                            |
|-------------|---------------------------------------------------------------------------------|
| the route   | the stored document: what the site was told, not what would be planned now       |
| deployed    | the last report: the ConfigMap holds the entry                                   |
| probe       | the last report: a TLS handshake through the exchange showed the party's         |
|             | certificate. A ConfigMap that holds an entry proves nothing: Traffic Server's    |
|             | reload answers 0 for a broken file (reference/dataplane.md)                      |
| unrouted    | a planning of now: only the planner knows why a party stands in no table         |
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession

from fedcore.words import TableKind
from fedhub.domain.access import Permission, Principal, authorize, of_federation
from fedhub.domain.models import Federation, Participant, StoredDocument, StoredStatus
from fedhub.planner.plan import plan
from fedhub.services.context import HubContext
from fedhub.services.federations import require
from fedhub.services.intents import Unplannable
from fedhub.services.planning import load_plan_input
from fedhub.services.resources import probes_of
from fedhub.store import documents, participants, sites, statuses
from fedproto.agent.v1 import document_pb2, status_pb2
from fedproto.words import from_wire


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
    async with hub.database.read() as db:
        federation = await require(db, name)
        authorize(principal, Permission.READ, of_federation(federation))
        members = await participants.of_federation(db, federation.id)
        current = await documents.of_resources(db, [row.id for row in members])
        reports = await statuses.of_resources(db, list(current))
        site_names = await sites.names(db)
        unrouted = await _unrouted(hub, db, federation)
    rows: list[RouteRow] = []
    for row in members:
        if row.id in current:
            rows += _rows(row, site_names[row.site_id], current[row.id], reports.get(row.id))
    return RoutesView(federation, tuple(rows), unrouted)


async def _unrouted(hub: HubContext, db: AsyncSession, federation: Federation) -> dict[str, str]:
    try:
        plan_input = await load_plan_input(hub, db, federation, with_documents=False)
    except Unplannable as unplannable:
        return {federation.name: unplannable.message}
    names = {member.participant.id: member.participant.name for member in plan_input.members}
    # An empty scope: the routes are wanted, and no document.
    return {
        names[unrouted.participant_id]: f"{unrouted.reason}: {unrouted.message}"
        for unrouted in plan(plan_input, scope=frozenset()).unrouted
    }


def _rows(
    row: Participant, site: str, document: StoredDocument, report: StoredStatus | None
) -> list[RouteRow]:
    spec = document_pb2.ParticipantSpec.FromString(document.spec_bytes)
    status = report.status if report is not None else status_pb2.ResourceStatus()
    deployed = {table.kind: table for table in status.tables}
    # Traffic Server takes names whatever their case, and the agent reports them as it probed them.
    probes = {probe.key.lower(): probe for probe in probes_of(status.probes)}
    rows = []
    for table in spec.tables:
        kind = from_wire(TableKind, table.kind)
        config_map = deployed.get(table.kind)
        for entry in table.entries:
            # Only names in Traffic Server's table are probed: a TLS handshake shows who answers.
            probe = probes.get(entry.key.lower()) if kind is TableKind.SNI else None
            rows.append(
                RouteRow(
                    participant=row.name,
                    site=site,
                    table=kind.value if kind is not None else "",
                    config_map=table.config_map,
                    key=entry.key,
                    host=entry.host,
                    port=entry.port,
                    generation=document.generation,
                    deployed=config_map is not None and entry.key not in config_map.missing,
                    probe=probe.state if probe is not None else "",
                    probe_message=probe.message if probe is not None else "",
                )
            )
    return rows
