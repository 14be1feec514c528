"""Build one service and serve it; also what tests use in their own process."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Self

from aiohttp import web

from fedsim.admin import fault_routes
from fedsim.faults import Faults, Service
from fedsim.kubefate.api import Api
from fedsim.kubefate.availability import Availability
from fedsim.kubefate.chart_routes import ChartRoutes
from fedsim.kubefate.clock import Clock, WallClock
from fedsim.kubefate.cluster_routes import ClusterRoutes
from fedsim.kubefate.core import Core
from fedsim.kubefate.gin import Route
from fedsim.kubefate.kubeconfig import load_access
from fedsim.kubefate.kubernetes_api import KubernetesApi
from fedsim.kubefate.service_routes import ServiceRoutes
from fedsim.kubefate.settings import Settings
from fedsim.kubefate.state import State

_STOP_LIMIT_S = 2.0


class SimulatedKubeFATE:
    """Serves the KubeFATE API while the context lasts.

    ``async with SimulatedKubeFATE(settings) as service:`` gives ``service.url``. The clock can be
    another for tests; faults are ordered by ``service.faults`` or the admin endpoint.
    """

    def __init__(self, settings: Settings, *, clock: Clock | None = None) -> None:
        self._settings = settings
        self._clock = clock or WallClock()
        self.faults = Faults(Service.KUBEFATE, settings.faults)
        self.url = ""
        self.admin_url = ""
        self._stack = AsyncExitStack()
        self._core: Core | None = None
        self._api: Api | None = None

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *failure: object) -> None:
        await self._stack.aclose()
        self._core = None

    @property
    def requests(self) -> Mapping[str, int]:
        """Return how many requests each route got, as ``{"GET /v1/job/{uuid}": 3}``."""
        return dict(self._api.requests) if self._api else {}

    @property
    def is_up(self) -> bool:
        """Return whether the service answers; it does not while its Deployment is not available."""
        return self._core is not None and self._core.is_up

    def restart(self) -> None:
        """Kill the process and start it: tokens die, running jobs stay Running for ever."""
        self._running().restart()

    def lose_database(self) -> None:
        """Forget all records; releases live on."""
        self._running().lose_database()

    def _running(self) -> Core:
        if self._core is None:
            raise RuntimeError("the service is not running")
        return self._core

    async def _start(self) -> None:
        settings = self._settings
        access = load_access(settings.kubeconfig)
        api = await self._stack.enter_async_context(KubernetesApi(access))
        state = State(settings.state, self._clock)
        self._stack.callback(state.close)
        core = Core(settings, state, api, self.faults, self._clock)
        self._stack.push_async_callback(core.drain)
        self._core = core
        await self._begin(core)
        self._api = Api(core, _routes(core))
        self.url = await self._serve(self._api.application(), settings.host, settings.port)
        if settings.admin_port is not None:
            admin = web.Application()
            admin.add_routes(fault_routes(self.faults))
            self.admin_url = await self._serve(admin, "127.0.0.1", settings.admin_port)

    async def _begin(self, core: Core) -> None:
        secret = self._settings.credentials_secret
        if secret is None:
            core.start()
            return
        task = asyncio.create_task(Availability(core, secret).follow())
        self._stack.push_async_callback(_cancel, task)

    async def _serve(self, application: web.Application, host: str, port: int) -> str:
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=_STOP_LIMIT_S)
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        site = web.TCPSite(runner, host, port)
        await site.start()
        bound = runner.addresses[0]
        return f"http://{bound[0]}:{bound[1]}"


def _routes(core: Core) -> list[Route]:
    makers = (ClusterRoutes, ChartRoutes, ServiceRoutes)
    return [route for maker in makers for route in maker(core).routes()]


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task], timeout=_STOP_LIMIT_S)
