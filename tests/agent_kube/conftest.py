from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import web

from fedagent.kube.client import Kube
from fedagent.kube.config import BearerToken, ServerAccess
from fedagent.kube.timing import KubeTiming

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class ManualClock:
    seconds: float = 0.0

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds


@dataclass
class FakeApi:
    """A server that does what a test's handlers say, in turn; the last handler stays."""

    url: str = ""
    handlers: list[Handler] = field(default_factory=list)
    requests: list[web.Request] = field(default_factory=list)
    over: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        handler = self.handlers.pop(0) if len(self.handlers) > 1 else self.handlers[0]
        return await handler(request)

    def answer(self, *handlers: Handler) -> None:
        self.handlers.extend(handlers)

    def watches(self) -> list[web.Request]:
        return [request for request in self.requests if "watch" in request.query]


class Answers:
    """Handlers that tests put together."""

    def __init__(self, api: FakeApi) -> None:
        self._api = api

    def json(self, body: Any, status: int = 200, **headers: str) -> Handler:
        async def handler(_request: web.Request) -> web.StreamResponse:
            return web.json_response(body, status=status, headers=headers)

        return handler

    def failure(self, code: int, reason: str, message: str = "no") -> Handler:
        body = {"kind": "Status", "code": code, "reason": reason, "message": message}
        return self.json(body, code)

    def items(self, *names: str, version: str = "1") -> Handler:
        items = [{"metadata": {"name": name, "namespace": "ns"}} for name in names]
        return self.json({"metadata": {"resourceVersion": version}, "items": items})

    def watch(self, *events: tuple[str, str, str], end: str = "orderly") -> Handler:
        """Send (type, name, version) events, then end, cut the connection or keep silent."""

        async def handler(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse()
            await response.prepare(request)
            for kind, name, version in events:
                meta = {"name": name, "namespace": "ns", "resourceVersion": version}
                line = json.dumps({"type": kind, "object": {"metadata": meta}})
                await response.write(line.encode() + b"\n")
            if end == "silent":
                await self._api.over.wait()
            elif end == "cut":
                assert request.transport is not None
                request.transport.abort()
            return response

        return handler


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def api() -> AsyncIterator[FakeApi]:
    fake = FakeApi()
    runner = web.ServerRunner(web.Server(fake.handle), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    fake.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield fake
    fake.over.set()
    await runner.cleanup()


@pytest.fixture
def answers(api: FakeApi) -> Answers:
    return Answers(api)


@pytest.fixture
async def tokens() -> list[str]:
    return ["Bearer one", "Bearer two"]


@pytest.fixture
async def kube(api: FakeApi, tokens: list[str], clock: ManualClock) -> AsyncIterator[Kube]:
    async def read() -> str:
        return tokens.pop(0) if len(tokens) > 1 else tokens[0]

    opened = Kube(
        ServerAccess(api.url, None, BearerToken(read, KubeTiming().token_s, clock.monotonic))
    )
    yield opened
    await opened.close()
