from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import web
from tests.support.patience import patient

from fedagent.kubefate.client import Credentials, KubeFate
from fedagent.kubefate.timing import KubeFateTiming

Answer = web.Response | Callable[[web.Request], Awaitable[web.Response]]


@dataclass
class ManualClock:
    at: datetime = datetime(2026, 1, 1, tzinfo=UTC)
    seconds: float = 0.0

    def now(self) -> datetime:
        return self.at + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds


@dataclass
class FakeService:
    """Answers by `METHOD /path`, in the order given, the last one for ever."""

    url: str = ""
    script: dict[str, list[Callable[[], web.Response] | str]] = field(default_factory=dict)
    seen: list[str] = field(default_factory=list)
    requests: list[web.Request] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    tokens: int = 0

    def answer(self, route: str, *answers: Any) -> None:
        self.script.setdefault(route, []).extend(answers)

    def count(self, route: str) -> int:
        return self.seen.count(route)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        route = f"{request.method} {request.path}"
        self.seen.append(route)
        self.requests.append(request)
        self.bodies.append(await request.read())
        if route == "POST /v1/user/login" and route not in self.script:
            self.tokens += 1
            return web.json_response({"code": 200, "token": f"token-{self.tokens}"})
        answers = self.script.get(route)
        if not answers:
            return web.Response(status=404, text="404 page not found")
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if answer == "break":
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        if answer == "hang":
            await self.gate.wait()
            return web.Response()
        assert not isinstance(answer, str)
        return answer()


def reply(body: object, status: int = 200) -> Callable[[], web.Response]:
    return lambda: web.json_response(body, status=status)


def text(body: str, status: int, content_type: str = "text/html") -> Callable[[], web.Response]:
    return lambda: web.Response(text=body, status=status, content_type=content_type)


@pytest.fixture
def fake_reply() -> Callable[..., Callable[[], web.Response]]:
    return reply


@pytest.fixture
def fake_text() -> Callable[..., Callable[[], web.Response]]:
    return text


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def fake() -> AsyncIterator[FakeService]:
    service = FakeService()
    server = web.Server(service.handle)
    runner = web.ServerRunner(server, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    service.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield service
    service.gate.set()
    await runner.cleanup()


@pytest.fixture
async def client(fake: FakeService, clock: ManualClock) -> AsyncIterator[KubeFate]:
    credentials = Credentials("admin", "secret")
    async with KubeFate(
        fake.url, credentials, clock=clock, timing=KubeFateTiming(call_limit_s=patient())
    ) as opened:
        yield opened
