"""Serve the's REST API: find the route, check the token, count, misbehave if ordered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Final

import structlog
from aiohttp import web

from fedsim.faults import FaultName
from fedsim.kubefate.auth import TokenError, find_token
from fedsim.kubefate.core import Core
from fedsim.kubefate.gin import (
    Route,
    Router,
    failure,
    not_found,
    panic,
    redirect_response,
    refusal,
)

log = structlog.get_logger()
CREATOR: Final = web.RequestKey("creator", str)
MAX_BODY_BYTES: Final = 32 * 1024 * 1024
_CHANGING: Final = ("POST", "PUT", "DELETE")
_HTML: Final = "<html><head><title>503 Service Temporarily Unavailable</title></head></html>\n"


class Api:
    """Answer requests. ``requests`` counts them by route, unknown ones under ``other``."""

    def __init__(self, core: Core, routes: list[Route]) -> None:
        self._core = core
        self._router = Router(routes)
        self.requests: Counter[str] = Counter()

    def application(self) -> web.Application:
        """Return the application to serve."""
        application = web.Application(client_max_size=MAX_BODY_BYTES)
        application.router.add_route("*", "/{path:.*}", self._dispatch)
        return application

    async def _dispatch(self, request: web.Request) -> web.StreamResponse:
        match = self._router.find(request.method, request.path)
        self.requests[match[0].name if match else "other"] += 1
        ordered = await self._misbehave()
        if ordered is not None:
            return ordered
        if match is None:
            other = self._router.redirect(request.method, request.path)
            return redirect_response(request, other) if other else not_found()
        response = await self._answer(request, *match)
        is_lost = request.method in _CHANGING and self._core.faults.strikes(FaultName.REPLY_LOST)
        if is_lost and request.transport is not None:
            request.transport.abort()
        return response

    async def _answer(
        self, request: web.Request, route: Route, parameters: Mapping[str, str]
    ) -> web.StreamResponse:
        try:
            if not route.is_open:
                request[CREATOR] = self._authenticate(request)
            return await route.handler(request, parameters)
        except TokenError as error:
            return refusal(error.code, error.message)
        except web.HTTPException:
            raise
        except Exception:
            log.exception("request.crashed", route=route.name)
            return panic()

    def _authenticate(self, request: web.Request) -> str:
        token = find_token(request.headers, request.query)
        username = self._core.tokens.check(token, self._core.clock.now())
        if self._core.faults.strikes(FaultName.REFUSE_TOKEN):
            raise TokenError(401, "signature is invalid")
        return username

    async def _misbehave(self) -> web.Response | None:
        faults = self._core.faults
        if not self._core.is_up:
            return _html_error()
        await self._core.clock.sleep(faults.seconds(FaultName.HTTP_LATENCY))
        if faults.strikes(FaultName.INGRESS_HTML):
            return _html_error()
        if faults.strikes(FaultName.HTTP_ERRORS):
            return failure(500, "an error was ordered")
        return None


def _html_error() -> web.Response:
    """Answer as the ingress does when there is no service behind it."""
    return web.Response(status=503, text=_HTML, content_type="text/html")
