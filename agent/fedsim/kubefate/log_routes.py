"""The routes of logs, namespaces and the version."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from aiohttp import WSCloseCode, web

from fedsim.kubefate.core import Core
from fedsim.kubefate.kubernetes_api import ApiError
from fedsim.kubefate.records import Cluster
from fedsim.kubefate.replies import failure, reply, success
from fedsim.kubefate.routing import Route
from fedsim.kubefate.state import RecordNotFoundError

Parameters = Mapping[str, str]
_NUMBERS: Final = {"since": "sinceSeconds", "tail": "tailLines", "limit-bytes": "limitBytes"}
_FLAGS: Final = ("previous", "timestamps")
_IDLE_S: Final = 0.1
_QUEUE_LINES: Final = 128
_FOLLOW_LIMIT_S: Final = 3600.0


_SECOND, _MINUTE, _HOUR, _DAY = (1, "s"), (60, "m"), (3600, "h"), (86400, "d")
_NOTHING: Final = (1, "")
_AGES: Final = (
    (120, _SECOND, _NOTHING),
    (600, _MINUTE, _SECOND),
    (10_800, _MINUTE, _NOTHING),
    (28_800, _HOUR, _MINUTE),
    (172_800, _HOUR, _NOTHING),
    (691_200, _DAY, _HOUR),
)


class QueryError(ValueError):
    """A query parameter that does not fit; the text is Go's."""


class LogRoutes:
    """Read logs, list namespaces, tell the version."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("GET", "/", self._root, is_open=True),
            Route("GET", "/v1/", self._error_path, is_open=True),
            Route("GET", "/v1/swagger/{*}", self._swagger, is_open=True),
            Route("GET", "/v1/version/", self._version),
            Route("GET", "/v1/namespace/", self._namespaces),
            Route("GET", "/v1/log/{uuid}", self._log),
            Route("GET", "/v1/log/{uuid}/ws", self._follow),
        ]

    async def _root(self, _: web.Request, __: Parameters) -> web.Response:
        return reply({"msg": "kubefate run Success"})

    async def _error_path(self, _: web.Request, __: Parameters) -> web.Response:
        return failure(400, "error path")

    async def _swagger(self, _: web.Request, __: Parameters) -> web.Response:
        return web.Response(text="<title>Swagger UI</title>", content_type="text/html")

    async def _version(self, _: web.Request, __: Parameters) -> web.Response:
        version = self._core.settings.version.value
        return reply({"msg": "getVersion Success", "version": version})

    async def _namespaces(self, _: web.Request, __: Parameters) -> web.Response:
        try:
            items = await self._core.api.list("Namespace")
        except ApiError as error:
            text = (
                "Get namespaces failed. Please check if user has the privilege to list resource "
                f'"namespaces" at the cluster scope: {error}'
            )
            return failure(500, text)
        rows = [
            {
                "Name": item["metadata"]["name"],
                "Status": (item.get("status") or {}).get("phase", ""),
                "Labels": item["metadata"].get("labels"),
                "Annotations": item["metadata"].get("annotations"),
                "Age": self._age(item["metadata"].get("creationTimestamp")),
            }
            for item in items
        ]
        return success("getNamespaceList Success", rows or None)

    def _age(self, since: str | None) -> str:
        if not since:
            return "<invalid>"
        return human_age(
            int((self._core.clock.now() - datetime.fromisoformat(since)).total_seconds())
        )

    async def _log(self, request: web.Request, given: Parameters) -> web.Response:
        try:
            query = _pod_query(request)
            cluster = self._core.state.clusters.get(lambda row: row.uuid == given["uuid"])
        except RecordNotFoundError as error:
            return failure(400, f"get Cluster error, {error}")
        except QueryError as error:
            return failure(400, str(error))
        try:
            text = await self._read(cluster, request.query.get("container", ""), query)
        except ApiError as error:
            return failure(500, str(error))
        return success("getClusterLog Success", text)

    async def _read(self, cluster: Cluster, container: str, query: dict[str, str]) -> str:
        sources = await self._sources(cluster, container)
        text = ""
        for name, pod in sources.items():
            raw = await self._core.api.pod_log(cluster.namespace, pod, {**query, "container": name})
            prefix = "" if len(sources) == 1 else f"[{pod} {name}] "
            # A last line without an end is dropped, as the service drops it.
            lines = raw.decode(errors="replace").split("\n")[:-1]
            text += "".join(f"{prefix}{line}\n" for line in lines)
        return text

    async def _sources(self, cluster: Cluster, wanted: str) -> dict[str, str]:
        """Return one pod for each container name: of several that share a name, the last."""
        pods = await self._core.api.list("Pod", cluster.namespace, f"name={cluster.name}")
        return {
            container["name"]: pod["metadata"]["name"]
            for pod in pods
            for container in pod["spec"]["containers"]
            if wanted in ("", container["name"])
        }

    async def _follow(self, request: web.Request, given: Parameters) -> web.StreamResponse:
        try:
            query = _pod_query(request) | {"follow": "true"}
            cluster = self._core.state.clusters.get(lambda row: row.uuid == given["uuid"])
        except RecordNotFoundError as error:
            return failure(400, f"get Cluster error, {error}")
        except QueryError as error:
            return failure(400, str(error))
        if not request.headers.get("Origin"):
            return web.Response(status=403)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        with contextlib.suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(_FOLLOW_LIMIT_S):
                sources = await self._sources(cluster, request.query.get("container", ""))
                await self._pump(socket, cluster, sources, query)
        await socket.close(code=WSCloseCode.GOING_AWAY)
        return socket

    async def _pump(
        self,
        socket: web.WebSocketResponse,
        cluster: Cluster,
        sources: dict[str, str],
        query: dict[str, str],
    ) -> None:
        """Send lines as frames, and empty frames while there is nothing, until the peer goes."""
        lines: asyncio.Queue[str] = asyncio.Queue(_QUEUE_LINES)
        readers = [
            asyncio.create_task(
                self._tail(cluster.namespace, pod, {**query, "container": name}, prefix, lines)
            )
            for name, pod in sources.items()
            for prefix in ("" if len(sources) == 1 else f"[{pod} {name}] ",)
        ]
        left = asyncio.create_task(socket.receive())
        try:
            while not left.done():
                try:
                    frame = await asyncio.wait_for(lines.get(), _IDLE_S)
                except TimeoutError:
                    frame = ""
                await socket.send_str(frame)
        finally:
            for task in (left, *readers):
                task.cancel()
            await asyncio.gather(left, *readers, return_exceptions=True)

    async def _tail(
        self,
        namespace: str,
        pod: str,
        query: Mapping[str, str],
        prefix: str,
        lines: asyncio.Queue[str],
    ) -> None:
        async with self._core.api.follow_log(namespace, pod, query) as stream:
            async for raw in stream:
                await lines.put(prefix + raw.decode(errors="replace"))


def human_age(seconds: int) -> str:
    """Write an age as Kubernetes does: ``90s``, ``5m30s``, ``3h``, ``3h20m``, ``5d``."""
    for limit, (unit, word), (smaller, letter) in _AGES:
        if seconds < limit:
            rest = seconds % unit // smaller
            return f"{seconds // unit}{word}" + (f"{rest}{letter}" if letter and rest else "")
    return f"{seconds // 86400}d"


def _pod_query(request: web.Request) -> dict[str, str]:
    """Turn the service's query into that of Kubernetes."""
    query: dict[str, str] = {}
    for name, target in _NUMBERS.items():
        if text := request.query.get(name):
            if not text.lstrip("+-").isdecimal():
                raise QueryError(f'strconv.ParseInt: parsing "{text}": invalid syntax')
            query[target] = text
    for name in _FLAGS:
        text = request.query.get(name, "")
        if text.lower() in ("1", "t", "true"):
            query[name] = "true"
        elif text and text.lower() not in ("0", "f", "false"):
            raise QueryError(f'strconv.ParseBool: parsing "{text}": invalid syntax')
    if since := request.query.get("since-time"):
        try:
            datetime.fromisoformat(since)
        except ValueError as error:
            raise QueryError(
                f'parsing time "{since}" as "2006-01-02T15:04:05Z07:00": cannot parse'
            ) from error
        query["sinceTime"] = since
    return query
