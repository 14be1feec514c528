from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest
from tests.contract.kubefate.client import Client, Json
from tests.fedsim_kubefate.fake_api import FakeApi
from tests.support.patience import until

from fedsim.kubefate import Settings, SimulatedKubeFATE


class QuickClock:
    """Let time pass at once: a sleep moves the clock and gives the others their turn."""

    def __init__(self) -> None:
        self._now = datetime(2026, 1, 1, tzinfo=UTC)
        self._is_held = False
        self._sleepers: list[asyncio.Future[None]] = []

    def hold(self) -> None:
        """Let sleepers wait until `release`."""
        self._is_held = True

    def release(self) -> None:
        self._is_held = False
        while self._sleepers:
            self.wake_last()

    def wake_last(self) -> None:
        sleeper = self._sleepers.pop()
        if not sleeper.done():
            sleeper.set_result(None)

    @property
    def sleeper_count(self) -> int:
        return len(self._sleepers)

    def now(self) -> datetime:
        return self._now

    def move(self, **units: float) -> None:
        self._now += timedelta(**units)

    async def sleep(self, seconds: float) -> None:
        self._now += timedelta(seconds=seconds)
        await asyncio.sleep(0)
        if seconds and self._is_held:
            sleeper = asyncio.get_running_loop().create_future()
            self._sleepers.append(sleeper)
            await sleeper


@dataclass(slots=True)
class Bench:
    """A service on a fake Kubernetes, and a client that is logged in."""

    service: SimulatedKubeFATE
    api: FakeApi
    client: Client
    clock: QuickClock

    async def login(self) -> None:
        assert (await self.client.login("admin", "admin")).status == 200

    async def until(self, test: Callable[[], Any]) -> None:
        await until(test)

    async def until_status(self, uuid: str, status: str) -> Json:
        async def job_in_status() -> Json | None:
            job = await self.client.job(uuid)
            return job if job["status"] == status else None

        return await until(job_in_status, f"{uuid} is {status}")

    async def states_of(self, uuid: str, last: str) -> list[str]:
        async def states_at_last() -> list[str]:
            states = (await self.client.job(uuid))["states"] or [""]
            return states if states[-1].startswith(last) else []

        return await until(states_at_last, f"{uuid} is at {last}")


@pytest.fixture
async def api() -> AsyncIterator[FakeApi]:
    async with FakeApi() as api:
        api.add("nodes", "", "node-1", status={"addresses": [{"address": "10.0.0.1"}]})
        api.add_namespace("site")
        yield api


@pytest.fixture
async def start(api, tmp_path) -> AsyncIterator[Callable[..., Any]]:
    async with AsyncExitStack() as stack:

        async def begin(*, login: bool = True, **options: Any) -> Bench:
            clock = QuickClock()
            options.setdefault("job_limit_s", 30.0)
            settings = Settings(kubeconfig=api.kubeconfig(tmp_path), **options)
            service = SimulatedKubeFATE(settings, clock=clock)
            await stack.enter_async_context(service)
            session = await stack.enter_async_context(aiohttp.ClientSession())
            bench = Bench(service, api, Client(session, service.url), clock)
            if login:
                await bench.login()
            return bench

        yield begin


@pytest.fixture
async def bench(start) -> Bench:
    return await start()
