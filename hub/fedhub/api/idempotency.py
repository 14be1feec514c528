"""Idempotency-Key: the same request sent twice is carried out once and answered the same."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

from aiohttp import web

from fedcore.errors import Conflict, Invalid
from fedhub.services.context import HubContext
from fedhub.services.idempotency import Remembered, recall, remember
from fedweb.openapi import IDEMPOTENCY_KEY
from fedweb.routes import JSON, Call, Route

HEADER: Final = IDEMPOTENCY_KEY[0]
_KEY: Final = re.compile(IDEMPOTENCY_KEY[2])
_KEPT_HEADERS: Final = ("ETag", "Location")


class Idempotency:
    """Stands around every handler that changes something.

    Answers below 400 are kept; one that holds a secret is not, and its request is carried out
    again: a repeated invitation gives a token that works, and voids the one that got lost.
    """

    def __init__(self, hub: HubContext) -> None:
        self._hub = hub
        self._under_way: dict[tuple[str, str], asyncio.Event] = {}

    async def __call__(
        self,
        route: Route[Any],
        call: Call[Any],
        handle: Callable[[], Awaitable[web.StreamResponse]],
    ) -> web.StreamResponse:
        """Answer a repeated request from memory; refuse a key that was used for another one."""
        key = call.request.headers.get(HEADER)
        if key is None or route.method == "GET" or route.secret:
            return await handle()
        if _KEY.fullmatch(key) is None:
            raise Invalid(f"{HEADER} must have 1 to 200 printable ASCII characters, no blanks")
        digest = _digest(call)
        async with self._alone((call.principal.id, key)):
            remembered = await recall(self._hub, call.principal, key)
            if remembered is not None:
                return _replayed(remembered, digest, key)
            response = await handle()
            await self._keep(call, key, digest, response)
            return response

    @asynccontextmanager
    async def _alone(self, request: tuple[str, str]) -> AsyncIterator[None]:
        """Run one request of a key at a time: the second finds the answer of the first."""
        while (running := self._under_way.get(request)) is not None:
            await running.wait()
        done = self._under_way[request] = asyncio.Event()
        try:
            yield
        finally:
            del self._under_way[request]
            done.set()

    async def _keep(
        self, call: Call[Any], key: str, digest: str, response: web.StreamResponse
    ) -> None:
        if (
            not isinstance(response, web.Response)
            or response.status >= web.HTTPBadRequest.status_code
        ):
            return
        body = response.body if isinstance(response.body, bytes) else b""
        kept = {name: response.headers[name] for name in _KEPT_HEADERS if name in response.headers}
        await remember(
            self._hub, call.principal, key, Remembered(digest, response.status, body, kept)
        )


def _replayed(remembered: Remembered, digest: str, key: str) -> web.Response:
    if remembered.request_sha256 != digest:
        raise Conflict(f"{HEADER} {key} was used for another request; choose a new one")
    headers = {"Idempotency-Replayed": "true", **remembered.headers}
    if not remembered.body:
        return web.Response(status=remembered.status, headers=headers)
    return web.Response(
        status=remembered.status, body=remembered.body, content_type=JSON, headers=headers
    )


def _digest(call: Call[Any]) -> str:
    """Hash method, address, condition and body."""
    condition = call.request.headers.get("If-Match", "")
    target = f"{call.request.method} {call.request.path_qs}\n{condition}\n".encode()
    return hashlib.sha256(target + call.raw).hexdigest()
