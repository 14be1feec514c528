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
)
from fedhub.domain.access import Principal
from fedhub.domain.effective_status import EffectiveStatus
from fedhub.services import force_removal, participants, route_probes
from fedhub.services.resources import probes_of
from fedhub.store.participants import ParticipantRow
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
    phase: Phase | None = Field(default=None, description="Only those that show this phase.")


def view(row: ParticipantRow, status: EffectiveStatus) -> ParticipantView:
    """Build the public form of a participant."""
    return ParticipantView(
        id=row.id,
        name=row.name,
        federation=row.federation,
        key=row.key,
        role=row.role,
        party_id=row.party_id,
        site=row.site,
        namespace=row.namespace,
        phase=status.phase,
        reason=status.reason,
        message=status.message,
        since=status.since,
        last_known_phase=status.last_known,
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
    items = [view(summary.row, summary.status) for summary in page.items]
    return Answer(ParticipantPage(items=items, next_cursor=page.next_cursor))


def _name(call: Call[Principal]) -> str:
    return f"{call.path('federation')}/{call.path('key')}"


async def get_participant(call: Call[Principal]) -> Answer:
    """Answer one participant with its latest report."""
    detail = await participants.get(hub_of(call), call.principal, _name(call))
    reported = detail.reported
    return Answer(
        ParticipantDetail(
            participant=view(detail.row, detail.status),
            reported_at=detail.report.reported_at if detail.report is not None else None,
            steps=[StepView.model_validate(step) for step in reported.steps],
            components=[ComponentView.model_validate(c) for c in reported.components],
            addresses=[AddressView.model_validate(a) for a in reported.addresses],
            certificates=[ReportedCertificateView.model_validate(c) for c in reported.certificates],
            tables=[TableView.model_validate(table) for table in reported.tables],
            probes=[ProbeView.model_validate(probe) for probe in reported.probes],
            findings=[FindingView.model_validate(finding) for finding in reported.findings],
            job=JobView.model_validate(reported.job) if reported.job is not None else None,
            leftovers=list(reported.leftovers),
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
    removed = await force_removal.force_remove(hub_of(call), call.principal, _name(call))
    items = [LeftoversView.model_validate(leftovers, from_attributes=True) for leftovers in removed]
    return Answer(ForceRemovalView(items=items))


async def probe_routes(call: Call[Principal]) -> Answer:
    """Try every route of an exchange now."""
    probed = await route_probes.probe(hub_of(call), call.principal, _name(call))
    probes = [ProbeView.model_validate(probe) for probe in probes_of(probed.probes)]
    return Answer(ProbesView(probes=probes))


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
