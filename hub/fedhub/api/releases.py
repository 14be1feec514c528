"""Serve /api/v1/releases."""

from __future__ import annotations

from pydantic import BaseModel

from fedhub.api.calls import hub_of
from fedhub.domain.access import Permission, Principal
from fedhub.domain.release import Release
from fedweb.routes import Answer, Call, Route


class ReleaseChartView(BaseModel):
    """A chart of a release; sha256 is empty where none is published."""

    name: str
    version: str
    sha256: str


class ReleaseView(BaseModel):
    """A FATE release that can be deployed."""

    version: str
    engine: str
    title: str
    minimum_kubefate: str
    charts: list[ReleaseChartView]


class ReleasePage(BaseModel):
    """Every release of the catalogue."""

    items: list[ReleaseView]
    next_cursor: str | None


def view(release: Release) -> ReleaseView:
    """Build the public form of a release."""
    return ReleaseView(
        version=release.version,
        engine=release.engine,
        title=release.title,
        minimum_kubefate=release.minimum_kubefate,
        charts=[
            ReleaseChartView.model_validate(role.chart, from_attributes=True)
            for role in (release.exchange, release.cluster)
        ],
    )


async def list_releases(call: Call[Principal]) -> Answer:
    """Answer every release of the catalogue."""
    call.principal.require(Permission.READ)
    items = [view(release) for release in hub_of(call).catalogue.releases]
    return Answer(ReleasePage(items=items, next_cursor=None))


ROUTES = (
    Route(
        "GET",
        "/api/v1/releases",
        list_releases,
        "List the FATE releases of the catalogue.",
        "releases",
        ReleasePage,
    ),
)
