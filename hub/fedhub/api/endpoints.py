"""Serve /api/v1/endpoints."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel

from fedcore.words import Phase
from fedhub.api.operations import StepView
from fedhub.api.request import PageQuery, hub_of
from fedhub.api.sites import FindingView
from fedhub.domain.access import Principal
from fedhub.domain.models import Endpoint
from fedhub.services import endpoints
from fedhub.services.resources import ResourceDetail
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


def view(detail: ResourceDetail[Endpoint]) -> EndpointView:
    """Build the public form of an endpoint."""
    endpoint, status, reported = detail.row, detail.status, detail.reported
    document, report = detail.document, detail.report
    return EndpointView(
        id=endpoint.id,
        name=endpoint.name,
        site=detail.site.name,
        mode=endpoint.mode,
        phase=status.phase,
        reason=status.reason,
        message=status.message,
        since=status.since,
        last_known_phase=status.last_known,
        version=reported.service.version,
        adopted=reported.service.adopted,
        access=reported.service.access,
        generation=document.generation if document is not None else 0,
        observed_generation=report.observed_generation if report is not None else 0,
        steps=[StepView.model_validate(step) for step in reported.steps],
        findings=[FindingView.model_validate(finding) for finding in reported.findings],
    )


async def list_endpoints(call: Call[Principal]) -> Answer:
    """Answer a page of endpoints."""
    page = await endpoints.list_page(
        hub_of(call), call.principal, cursor=call.query.cursor, limit=call.query.limit
    )
    return Answer(
        EndpointPage(items=[view(detail) for detail in page.items], next_cursor=page.next_cursor)
    )


async def get_endpoint(call: Call[Principal]) -> Answer:
    """Answer the endpoint of a site."""
    detail = await endpoints.get(hub_of(call), call.principal, call.path("site"))
    return Answer(view(detail))


async def delete_endpoint(call: Call[Principal]) -> Answer:
    """Remove the endpoint of a site."""
    await endpoints.remove(hub_of(call), call.principal, call.path("site"))
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
