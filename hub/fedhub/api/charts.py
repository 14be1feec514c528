"""Serve /api/v1/charts."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from pydantic import BaseModel

from fedcore import limits
from fedhub.api.request import PageQuery, hub_of
from fedhub.domain.access import Principal
from fedhub.domain.models import Chart
from fedhub.services import charts
from fedweb.routes import Answer, Call, Route

ARCHIVE: Final = "application/gzip"


class ChartView(BaseModel):
    """A Helm chart archive that the hub serves by its digest."""

    sha256: str
    name: str
    version: str
    app_version: str
    size_bytes: int
    uploaded_at: datetime
    uploaded_by: str


class ChartPage(BaseModel):
    """A page of charts."""

    items: list[ChartView]
    next_cursor: str | None


def view(chart: Chart) -> ChartView:
    """Build the public form of a chart."""
    return ChartView.model_validate(chart, from_attributes=True)


async def list_charts(call: Call[Principal]) -> Answer:
    """Answer a page of charts."""
    page = await charts.list_page(
        hub_of(call), call.principal, cursor=call.query.cursor, limit=call.query.limit
    )
    return Answer(ChartPage(items=[view(c) for c in page.items], next_cursor=page.next_cursor))


async def upload_chart(call: Call[Principal]) -> Answer:
    """Store an archive."""
    return Answer(view(await charts.upload(hub_of(call), call.principal, call.body)), 201)


async def delete_chart(call: Call[Principal]) -> Answer:
    """Forget an archive."""
    await charts.delete(hub_of(call), call.principal, call.path("sha256"))
    return Answer(None, 204)


ROUTES = (
    Route(
        "GET",
        "/api/v1/charts",
        list_charts,
        "List chart archives.",
        "charts",
        ChartPage,
        query=PageQuery,
    ),
    Route(
        "POST",
        "/api/v1/charts",
        upload_chart,
        "Upload a chart archive (.tgz); its digest must be the catalogue's.",
        "charts",
        ChartView,
        status=201,
        upload=ARCHIVE,
        max_bytes=limits.MAX_CHART_BYTES,
    ),
    Route(
        "DELETE",
        "/api/v1/charts/{sha256}",
        delete_chart,
        "Forget a chart archive.",
        "charts",
        status=204,
    ),
)
