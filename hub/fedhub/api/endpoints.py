"""Serve /api/v1/endpoints."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel

from fedcore.words import Phase
from fedhub.api.operations import StepView
from fedhub.api.request import PageQuery, hub_of
from fedhub.api.sites import FindingView
from fedhub.api.status_views import reported
from fedhub.domain.access import Principal
from fedhub.domain.effective_status import StatusInputs, effective_status
from fedhub.services import participants
from fedhub.services.participants import ResourceDetail
from fedhub.services.progress import steps_of
from fedproto.agent.v1 import status_pb2
from fedweb.routes import Answer, Call, Route


class EndpointView(BaseModel):
    """The KubeFATE service of a site, and where it stands."""

    id: str
    name: str
    site: str
    mode: str
    phase: Phase
    reason: str
    message: str
    since: datetime
    last_known_phase: Phase | None
    version: str
    adopted: bool
    access: str
    generation: int
    observed_generation: int
    steps: list[StepView]
    findings: list[FindingView]


class EndpointPage(BaseModel):
    """A page of endpoints."""

    items: list[EndpointView]
    next_cursor: str | None


def view(found: ResourceDetail) -> EndpointView:
    """Build the public form of an endpoint."""
    endpoint = found.endpoint_row()
    stored = found.status
    status = stored.status if stored is not None else status_pb2.ResourceStatus()
    shown = effective_status(
        StatusInputs(
            site=found.site.name,
            site_state=found.site.state,
            created_at=endpoint.created_at,
            removing=endpoint.removing,
            waiting_reason=None,
            waiting_message=None,
            generation=found.document.generation if found.document is not None else None,
            phase=stored.phase if stored is not None else None,
            reason=stored.reason if stored is not None else None,
            message=stored.message if stored is not None else None,
            since=stored.since if stored is not None else None,
            observed_generation=stored.observed_generation if stored is not None else None,
            reported_at=stored.reported_at if stored is not None else None,
        )
    )
    return EndpointView(
        id=endpoint.id,
        name=endpoint.name,
        site=found.site.name,
        mode=endpoint.mode,
        phase=shown.phase,
        reason=shown.reason,
        message=shown.message,
        since=shown.since,
        last_known_phase=shown.last_known,
        version=status.endpoint.version,
        adopted=status.endpoint.adopted,
        access=status.endpoint.access,
        generation=found.document.generation if found.document is not None else 0,
        observed_generation=stored.observed_generation if stored is not None else 0,
        steps=[StepView.model_validate(s, from_attributes=True) for s in steps_of(status)],
        findings=reported(status).findings,
    )


async def list_endpoints(call: Call[Principal]) -> Answer:
    """Answer a page of endpoints."""
    page = await participants.list_endpoints(
        hub_of(call), call.principal, cursor=call.query.cursor, limit=call.query.limit
    )
    return Answer(
        EndpointPage(items=[view(found) for found in page.items], next_cursor=page.next_cursor)
    )


async def get_endpoint(call: Call[Principal]) -> Answer:
    """Answer the endpoint of a site."""
    found = await participants.get_endpoint(hub_of(call), call.principal, call.path("site"))
    return Answer(view(found))


async def delete_endpoint(call: Call[Principal]) -> Answer:
    """Remove the endpoint of a site."""
    await participants.remove_endpoint(hub_of(call), call.principal, call.path("site"))
    return Answer(None, 202)


ROUTES = (
    Route(
        "GET",
        "/api/v1/endpoints",
        list_endpoints,
        "List endpoints: the KubeFATE service of each site.",
        "endpoints",
        EndpointPage,
        query=PageQuery,
    ),
    Route(
        "GET",
        "/api/v1/endpoints/{site}",
        get_endpoint,
        "Get the endpoint of a site.",
        "endpoints",
        EndpointView,
    ),
    Route(
        "DELETE",
        "/api/v1/endpoints/{site}",
        delete_endpoint,
        "Remove the KubeFATE that was installed at a site.",
        "endpoints",
        status=202,
    ),
)
