"""The REST interface: every request to the API server comes through `Api.handle`."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Awaitable, Callable

import structlog
from aiohttp import web

from fedsim.faults import FaultName
from fedsim.kube.access import answer_access_review, answer_rules_review, is_forbidden
from fedsim.kube.cluster import Cluster
from fedsim.kube.discovery import discover
from fedsim.kube.errors import ApiError, forbidden
from fedsim.kube.kinds import ACCESS_REVIEWS, RULES_REVIEWS
from fedsim.kube.lists import Lists
from fedsim.kube.objects import Objects
from fedsim.kube.paths import Target, parse_path
from fedsim.kube.podapi import PodApi
from fedsim.kube.requests import read_body
from fedsim.kube.selectors import parse_selector
from fedsim.kube.store import Json, dump
from fedsim.kube.watch import Watch, parse_options

log = structlog.get_logger(__name__)

_OPEN = frozenset({"/livez", "/readyz", "/healthz", "/version"})
_SETTLE_LIMIT_S = 30.0
_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}

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
        path = request.path.rstrip("/") or "/"
        health = path if path in _OPEN else path.rpartition("/")[0]
        if health in {"/livez", "/readyz", "/healthz"}:
            return web.Response(text="ok")
        if path != "/version":
            self._authenticate(request)
        await self._misbehave(request)
        found = discover(path, str(request.url.authority))
        if found is not None:
            return json_response(found)
        target = parse_path(path)
        self._authorize(request, target)
        if target.subresource in {"log", "exec", "portforward"}:
            return await self._pods.answer(request, target)
        if request.method == "GET":
            return await self._read(request, target)
        return await self._change(request, target)

    def _authenticate(self, request: web.Request) -> None:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        is_known = hmac.compare_digest(token.strip().encode(), self._token.encode())
        if scheme.lower() != "bearer" or not is_known:
            raise ApiError(401, "Unauthorized", "Unauthorized")

    async def _misbehave(self, request: web.Request) -> None:
        faults = self._cluster.faults
        delay_s = faults.seconds(FaultName.API_LATENCY)
        if delay_s:
            await asyncio.sleep(delay_s)
        if faults.strikes(FaultName.API_ERRORS):
            raise ApiError(500, "InternalError", "Internal error occurred: ordered to fail")
        if faults.strikes(FaultName.API_THROTTLED):
            details = {"retryAfterSeconds": 1}
            text = "The server has received too many requests and has asked us to try again later"
            raise ApiError(429, "TooManyRequests", text, details)
        if request.method in {"PUT", "PATCH"} and faults.strikes(FaultName.CONFLICTS):
            text = "Operation cannot be fulfilled: the object has been modified; please apply "
            raise ApiError(409, "Conflict", text + "your changes to the latest version")

    def _authorize(self, request: web.Request, target: Target) -> None:
        verb = _verb(request, target)
        plural = "/".join(part for part in (target.resource.plural, target.subresource) if part)
        for rule in self._cluster.faults.items(FaultName.FORBIDDEN):
            if is_forbidden(rule, verb, plural, target.space):
                where = f' in the namespace "{target.namespace}"' if target.namespace else ""
                group = f' in API group "{target.resource.group}"'
                why = f'User "simulated" cannot {verb} resource "{plural}"{group}{where}'
                raise forbidden(target.resource, target.name, why)

    async def _read(self, request: web.Request, target: Target) -> web.StreamResponse:
        query = dict(request.query)
        if target.name and not target.is_watch and query.get("watch") not in {"true", "1"}:
            return json_response(self._objects.get(target))
        selector = parse_selector(
            target.resource, query.get("labelSelector", ""), query.get("fieldSelector", "")
        )
        if target.is_watch or query.get("watch") in {"true", "1"}:
            options = parse_options(query)
            return await Watch(self._cluster, target, selector, options).run(request)
        return json_response(self._lists.answer(target, selector, query))

    async def _change(self, request: web.Request, target: Target) -> web.Response:
        body = await read_body(request)
        if target.resource is ACCESS_REVIEWS:
            return json_response(answer_access_review(self._cluster.faults, body), 201)
        if target.resource is RULES_REVIEWS:
            return json_response(answer_rules_review(body), 201)
        code, answer = self._act(request, target, body)
        async with asyncio.timeout(_SETTLE_LIMIT_S):
            await self._settle()
        return json_response(answer, code)

    def _act(self, request: web.Request, target: Target, body: object) -> tuple[int, Json]:
        match request.method:
            case "POST":
                return self._objects.create(request, target, body)
            case "PUT":
                return 200, self._objects.replace(request, target, body)
            case "PATCH":
                return self._objects.patch(request, target, body)
            case "DELETE" if target.name:
                return 200, self._objects.delete(request, target, body)
            case "DELETE":
                selector = parse_selector(
                    target.resource,
                    request.query.get("labelSelector", ""),
                    request.query.get("fieldSelector", ""),
                )
                chosen = self._lists.chosen(target, selector)
                return 200, self._objects.delete_all(request, target, chosen, body)
            case method:
                raise ApiError(
                    405, "MethodNotAllowed", f"the server does not allow this method: {method}"
                )


def _verb(request: web.Request, target: Target) -> str:
    if request.method == "GET":
        if target.is_watch or request.query.get("watch") in {"true", "1"}:
            return "watch"
        if target.subresource in {"exec", "portforward"}:
            return "create"
        return "get" if target.name else "list"
    verb = _VERBS.get(request.method, "get")
    return "deletecollection" if verb == "delete" and not target.name else verb


def json_response(body: Json, status: int = 200) -> web.Response:
    """Answer an object."""
    return web.Response(body=dump(body), status=status, content_type="application/json")


def _error_response(error: ApiError) -> web.Response:
    response = json_response(error.to_status(), error.code)
    retry_s = (error.details or {}).get("retryAfterSeconds")
    if retry_s:
        response.headers["Retry-After"] = str(retry_s)
    return response
