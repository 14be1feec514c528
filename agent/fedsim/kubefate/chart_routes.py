"""The routes of charts."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from aiohttp import web

from fedsim.kubefate import charts
from fedsim.kubefate.core import Core
from fedsim.kubefate.gin import Route, failure, success
from fedsim.kubefate.state import RecordNotFoundError

Parameters = Mapping[str, str]
UPLOAD_LIMIT_S = 60.0


class ChartRoutes:
    """Uploads, lists, reads and deletes charts."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("POST", "/v1/chart", self._upload),
            Route("GET", "/v1/chart/", self._list),
            Route("GET", "/v1/chart/{uuid}", self._get),
            Route("DELETE", "/v1/chart/{uuid}", self._delete),
        ]

    async def _upload(self, request: web.Request, _: Parameters) -> web.Response:
        try:
            archive = await _uploaded(request)
            chart = await asyncio.to_thread(charts.load_archive, archive)
        except charts.ChartError as error:
            return failure(500, str(error))
        rows = self._core.state.charts
        for old in rows.all():
            if (old.name, old.version) == (chart.name, chart.version):
                rows.delete(old)
        rows.add(chart)
        return success("CreateChart Success", {"helmUUID": chart.uuid})

    async def _list(self, _: web.Request, __: Parameters) -> web.Response:
        self._core.drop_lost_charts()
        rows = self._core.state.charts.all()
        bodies = [row.wire() for row in rows]
        return success("getChartList Success", bodies)

    async def _get(self, _: web.Request, parameters: Parameters) -> web.Response:
        self._core.drop_lost_charts()
        try:
            chart = self._core.state.charts.get(lambda row: row.uuid == parameters["uuid"])
        except RecordNotFoundError as error:
            return failure(500, str(error))
        return success("getChart Success", chart.wire())

    async def _delete(self, _: web.Request, parameters: Parameters) -> web.Response:
        chart = self._core.state.charts.find(lambda row: row.uuid == parameters["uuid"])
        if chart is not None:
            self._core.state.charts.delete(chart)
        return success("deleteChart Success")


async def _uploaded(request: web.Request) -> bytes:
    """Return the part ``file``; raise ChartError."""
    if request.content_type != "multipart/form-data":
        raise charts.ChartError("request Content-Type isn't multipart/form-data")
    try:
        async with asyncio.timeout(UPLOAD_LIMIT_S):
            form = await request.post()
    except (ValueError, TimeoutError, web.HTTPException) as error:
        raise charts.ChartError(f"multipart: NextPart: {error}") from error
    part = form.get("file")
    if not isinstance(part, web.FileField):
        raise charts.ChartError("http: no such file")
    return part.file.read(charts.MAX_ARCHIVE_BYTES)
