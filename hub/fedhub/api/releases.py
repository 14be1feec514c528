"""Serve /api/v1/releases."""

from __future__ import annotations

from pydantic import BaseModel

from fedhub.api.request import PageQuery, hub_of
from fedhub.domain.access import Principal
from fedhub.domain.release import Release
from fedhub.services import releases
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
    """A page of releases."""

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
    """Answer a page of the catalogue's releases, oldest first."""
    page = releases.list_page(
        hub_of(call), call.principal, cursor=call.query.cursor, limit=call.query.limit
    )
    items = [view(release) for release in page.items]
    return Answer(ReleasePage(items=items, next_cursor=page.next_cursor))


ROUTES = (
    Route(
        "GET",
        "/api/v1/releases",
        list_releases,
        "List the FATE releases of the catalogue.",
        "releases",
        ReleasePage,
        query=PageQuery,
    ),
)
