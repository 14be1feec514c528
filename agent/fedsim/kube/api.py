"""The REST interface: every request to the API server comes through `Api.handle`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog
from aiohttp import web

from fedsim.faults import FaultName
from fedsim.kube.authorization import (
    ACCESS_REVIEWS,
    answer_access_review,
    authenticate,
    authorize,
    is_watch,
)
from fedsim.kube.cluster import Cluster
from fedsim.kube.discovery import discover
from fedsim.kube.errors import ApiError
from fedsim.kube.lists import Lists
from fedsim.kube.objects import Objects
from fedsim.kube.podapi import PodApi
from fedsim.kube.requests import Target, parse_target, read_body
from fedsim.kube.store import Json, dump
from fedsim.kube.watch import Watch

log = structlog.get_logger(__name__)

_HEALTH = frozenset({"/livez", "/readyz", "/healthz"})
_SETTLE_LIMIT_S = 30.0

Settle = Callable[[], Awaitable[None]]


class Api:
    """Authenticates, lets faults strike, and routes to what answers."""

    def __init__(self, cluster: Cluster, token: str, settle: Settle) -> None:
        self._cluster = cluster
        self._token = token
        self._settle = settle
        self._objects = Objects(cluster)
        self._lists = Lists(cluster)
        self._pods = PodApi(cluster)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request; errors become ``Status`` objects."""
        try:
            return await self._answer(request)
        except ApiError as error:
            return _error_response(error)
        except web.HTTPException:
            raise
        except Exception:
            log.exception("request.failed", method=request.method, path=request.path)
            return _error_response(ApiError(500, "InternalError", "internal error"))

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        path = request.path.rstrip("/")
        if path in _HEALTH:
            return web.Response(text="ok")
        if path != "/version":
            authenticate(request, self._token)
        await self._misbehave(request)
        if (description := discover(path)) is not None:
            return _json_response(description)
        if path == ACCESS_REVIEWS:
            review = answer_access_review(self._cluster.faults, await read_body(request))
            return _json_response(review, 201)
        target = parse_target(path)
        authorize(self._cluster.faults, request, target)
        if target.subresource:
            return await self._pods.answer(request, target)
        if request.method == "GET":
            return await self._read(request, target)
        return await self._change(request, target)

    async def _misbehave(self, request: web.Request) -> None:
        faults = self._cluster.faults
        delay_s = faults.seconds(FaultName.API_LATENCY)
        if delay_s:
            await asyncio.sleep(delay_s)
        if faults.strikes(FaultName.API_ERRORS):
            raise ApiError(500, "InternalError", "Internal error occurred: ordered to fail")
        if faults.strikes(FaultName.API_THROTTLED):
            text = "The server has received too many requests and has asked us to try again later"
            raise ApiError(429, "TooManyRequests", text, {"retryAfterSeconds": 1})
        if request.method in {"PUT", "PATCH"} and faults.strikes(FaultName.CONFLICTS):
            text = "Operation cannot be fulfilled: the object has been modified; please apply "
            raise ApiError(409, "Conflict", text + "your changes to the latest version")

    async def _read(self, request: web.Request, target: Target) -> web.StreamResponse:
        if target.name:
            return _json_response(self._objects.get(target))
        if is_watch(request):
            return await Watch(self._cluster, target, request.query).run(request)
        return _json_response(self._lists.answer(target, request.query))

    async def _change(self, request: web.Request, target: Target) -> web.Response:
        body = await read_body(request)
        code, answer = self._objects.change(request, target, body)
        async with asyncio.timeout(_SETTLE_LIMIT_S):
            await self._settle()
        return _json_response(answer, code)


def _json_response(body: Json, status: int = 200) -> web.Response:
    return web.Response(body=dump(body), status=status, content_type="application/json")


def _error_response(error: ApiError) -> web.Response:
    response = _json_response(error.to_status(), error.code)
    retry_s = (error.details or {}).get("retryAfterSeconds")
    if retry_s:
        response.headers["Retry-After"] = str(retry_s)
    return response
