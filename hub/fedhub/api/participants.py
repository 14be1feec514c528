"""Serve /api/v1/participants."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, Field

from fedcore.errors import Conflict
from fedcore.words import Phase
from fedhub.api.operations import StepView
from fedhub.api.request import NameFilter, PageQuery, hub_of
from fedhub.api.sites import FindingView
from fedhub.api.status_views import (
    AddressView,
    ComponentView,
    JobView,
    ProbeView,
    ReportedCertificateView,
    TableView,
    reported,
)
from fedhub.domain.access import Principal
from fedhub.domain.effective_status import StatusInputs, effective_status
from fedhub.services import agents, force_removal, participants
from fedhub.services.progress import steps_of
from fedhub.store.participants import ParticipantRow
from fedproto.agent.v1 import status_pb2
from fedweb.routes import Answer, Call, Query, Route


class ParticipantView(BaseModel):
    """An exchange or a cluster of a federation, and where it stands."""

    id: str
    name: str
    federation: str
    key: str = Field(description="exchange, or the party id as text.")
    role: str
    party_id: int
    site: str
    namespace: str
    phase: Phase
    reason: str
    message: str
    since: datetime
    last_known_phase: Phase | None = Field(description="Set while the phase is Unknown.")
    generation: int = Field(description="Of its document; 0 while there is none.")
    observed_generation: int
    simulated: bool
    removing: bool


class ParticipantPage(BaseModel):
    """A page of participants."""

    items: list[ParticipantView]
    next_cursor: str | None


class ParticipantDetail(BaseModel):
    """All that is known of a participant."""

    participant: ParticipantView
    reported_at: datetime | None
    steps: list[StepView]
    components: list[ComponentView]
    addresses: list[AddressView]
    certificates: list[ReportedCertificateView]
    tables: list[TableView]
    probes: list[ProbeView]
    findings: list[FindingView]
    job: JobView | None
    leftovers: list[str]


class ProbesView(BaseModel):
    """The routes of an exchange, tried just now."""

    probes: list[ProbeView]


class RemovalQuery(Query):
    """Options of a removal of one participant."""

    force: bool = Field(
        default=False,
        description="Forget it though its site, Offline or Revoked, cannot remove it any more.",
    )


class LeftoversView(BaseModel):
    """A participant that was given up, and what of it may be at its site still."""

    participant: str
    site: str
    namespace: str
    leftovers: list[str]


class ForceRemovalView(BaseModel):
    """What was given up; nothing of it was touched."""

    items: list[LeftoversView]


class ParticipantQuery(PageQuery):
    """Filters of the list of participants."""

    federation: NameFilter = Field(default=None, description="Only those of this federation.")
    site: NameFilter = Field(default=None, description="Only those at this site.")
    phase: Phase | None = Field(default=None, description="Only those whose report says this.")


def view(row: ParticipantRow) -> ParticipantView:
    """Build the public form of a participant."""
    shown = effective_status(
        StatusInputs(
            site=row.site,
            site_state=row.site_state,
            created_at=row.created_at,
            removing=row.removing,
            waiting_reason=row.waiting_reason,
            waiting_message=row.waiting_message,
            generation=row.generation,
            phase=row.phase,
            reason=row.reason,
            message=row.message,
            since=row.since,
            observed_generation=row.observed_generation,
            reported_at=row.reported_at,
        )
    )
    return ParticipantView(
        id=row.id,
        name=row.name,
        federation=row.federation,
        key=row.key,
        role=row.role,
        party_id=row.party_id,
        site=row.site,
        namespace=row.namespace,
        phase=shown.phase,
        reason=shown.reason,
        message=shown.message,
        since=shown.since,
        last_known_phase=shown.last_known,
        generation=row.generation or 0,
        observed_generation=row.observed_generation or 0,
        simulated=row.site_simulated,
        removing=row.removing,
    )


async def list_participants(call: Call[Principal]) -> Answer:
    """Answer a page of participants."""
    page = await participants.list_page(
        hub_of(call),
        call.principal,
        federation=call.query.federation,
        site=call.query.site,
        phase=call.query.phase,
        cursor=call.query.cursor,
        limit=call.query.limit,
    )
    return Answer(
        ParticipantPage(items=[view(row) for row in page.items], next_cursor=page.next_cursor)
    )


def _name(call: Call[Principal]) -> str:
    return f"{call.path('federation')}/{call.path('key')}"


async def get_participant(call: Call[Principal]) -> Answer:
    """Answer one participant with its latest report."""
    found = await participants.get(hub_of(call), call.principal, _name(call))
    status = found.status.status if found.status is not None else status_pb2.ResourceStatus()
    said = reported(status)
    return Answer(
        ParticipantDetail(
            participant=view(found.participant_row()),
            reported_at=found.status.reported_at if found.status is not None else None,
            steps=[StepView.model_validate(s, from_attributes=True) for s in steps_of(status)],
            components=said.components,
            addresses=said.addresses,
            certificates=said.certificates,
            tables=said.tables,
            probes=said.probes,
            findings=said.findings,
            job=said.job,
            leftovers=list(status.leftovers),
        )
    )


async def delete_participant(call: Call[Principal]) -> Answer:
    """Give up a participant at a site that never comes back."""
    if not call.query.force:
        raise Conflict(
            "a participant leaves when its federation's file no longer has it; force=true "
            "(`fedctl delete participant NAME --force`) is for one at a site that never comes "
            "back"
        )
    given_up = await force_removal.abandon(hub_of(call), call.principal, _name(call))
    items = [LeftoversView.model_validate(one, from_attributes=True) for one in given_up]
    return Answer(ForceRemovalView(items=items))


async def probe_routes(call: Call[Principal]) -> Answer:
    """Try every route of an exchange now."""
    hub = hub_of(call)
    found = await participants.get(hub, call.principal, _name(call))
    probed = await agents.probe_routes(
        hub, call.principal, site_id=found.site.id, resource_id=found.participant_row().id
    )
    return Answer(
        ProbesView(probes=reported(status_pb2.ResourceStatus(probes=probed.probes)).probes)
    )


_ONE = "/api/v1/participants/{federation}/{key}"
ROUTES = (
    Route(
        "GET",
        "/api/v1/participants",
        list_participants,
        "List participants.",
        "participants",
        ParticipantPage,
        query=ParticipantQuery,
    ),
    Route(
        "GET",
        _ONE,
        get_participant,
        "Get a participant with its latest report.",
        "participants",
        ParticipantDetail,
    ),
    Route(
        "DELETE",
        _ONE,
        delete_participant,
        "Give up a participant that is being removed at a site that never comes back.",
        "participants",
        ForceRemovalView,
        query=RemovalQuery,
    ),
    Route(
        "POST",
        _ONE + "/probes",
        probe_routes,
        "Try every route of an exchange now, by a TLS handshake each.",
        "participants",
        ProbesView,
    ),
)
