"""How long each request took, by route; outermost, so that the problem documents are in it."""

from __future__ import annotations

import time
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from fedhub.instruments import Instruments

UNMATCHED: Final = "unmatched"
"""The route of requests that no route takes: their paths are strangers' and have no bound."""


def measured(instruments: Instruments) -> Middleware:
    """Build the middleware that observes every request but followed streams, which never end."""

    @web.middleware
    async def measure(request: web.Request, handler: Handler) -> web.StreamResponse:
        started = time.monotonic()
        response = await handler(request)
        if isinstance(response, web.Response):
            resource = request.match_info.route.resource
            instruments.rest_requests.labels(
                request.method if resource is not None else UNMATCHED,
                resource.canonical if resource is not None else UNMATCHED,
                f"{response.status // 100}xx",
            ).observe(time.monotonic() - started)
        return response

    return measure
