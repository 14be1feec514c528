"""One simulated cluster, put together: store, controllers, data plane, HTTPS and admin endpoint."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any, Self

import structlog
from aiohttp import web

from fedsim.admin import fault_routes
from fedsim.faults import Faults, Service
from fedsim.kube.api import Api
from fedsim.kube.certificates import Identity, write_kubeconfig
from fedsim.kube.clock import Clock
from fedsim.kube.cluster import NODE_NAME, SIMULATED_LABEL, Cluster
from fedsim.kube.controllers import Controllers
from fedsim.kube.dataplane import DataPlane
from fedsim.kube.kinds import NAMESPACES, NODES, STORAGE_CLASSES
from fedsim.kube.lifecycle import Registry
from fedsim.kube.mounts import Mounts
from fedsim.kube.ports import PortAllocator
from fedsim.kube.recorder import PodLogs, Recorder
from fedsim.kube.requests import BODY_LIMIT
from fedsim.kube.settings import KubeSettings
from fedsim.kube.state import StateFile
from fedsim.kube.store import Json, Store
from fedsim.kube.volumes import default_storage_class

log = structlog.get_logger(__name__)

_NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system")
_SHUTDOWN_S = 1.0
_STATE_PAUSE_S = 0.2


class SimulatedKube:
    """A running simulated cluster: ``async with SimulatedKube(settings) as kube``."""

    def __init__(self, settings: KubeSettings | None = None) -> None:
        self.settings = settings or KubeSettings()
        self.faults = Faults(Service.KUBE, self.settings.faults)
        self.store = Store()
        self.url = ""
        self.admin_url: str | None = None
        self._exits = contextlib.AsyncExitStack()
        self._state: StateFile | None = None
        self._identity: Identity | None = None
        self._cluster: Cluster | None = None

    @property
    def cluster(self) -> Cluster:
        """Return the parts of the cluster, once it runs."""
        if self._cluster is None:
            raise RuntimeError("the simulated cluster does not run")
        return self._cluster

    @property
    def identity(self) -> Identity:
        """Return the CA and the token, once the cluster runs."""
        if self._identity is None:
            raise RuntimeError("the simulated cluster does not run")
        return self._identity

    @property
    def kubeconfig(self) -> Json:
        """Return the administrator's kubeconfig."""
        return self.identity.kubeconfig(self.url)

    def write_kubeconfig(self, path: Path) -> None:
        """Write the administrator's kubeconfig (mode 0600)."""
        write_kubeconfig(path, self.kubeconfig)

    async def __aenter__(self) -> Self:
        async with contextlib.AsyncExitStack() as exits:
            await self._start(exits)
            self._exits = exits.pop_all()
        log.info("cluster.serving", url=self.url, node_ip=self.settings.node_ip)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._exits.aclose()

    async def _start(self, exits: contextlib.AsyncExitStack) -> None:
        self._load(exits)
        cluster, ports = self._build(exits)
        self._cluster = cluster
        controllers = Controllers(cluster, self.identity.ca_pem)
        self._furnish(cluster, controllers)
        controllers.start()
        loops = [controllers.run()]
        if self.settings.data_plane:
            plane = DataPlane(cluster, ports)
            exits.push_async_callback(plane.close)
            plane.start()
            loops.append(plane.run())
        if self._state is not None:
            loops.append(self._save())
        for loop in loops:
            await exits.enter_async_context(_running(loop))
        await self._serve(exits, Api(cluster, self.identity.token, self._settle))
        if self.settings.admin_port is not None:
            app = web.Application()
            app.add_routes(fault_routes(self.faults))
            port = await _listen(exits, app, "127.0.0.1", self.settings.admin_port)
            self.admin_url = f"http://127.0.0.1:{port}"

    def _load(self, exits: contextlib.AsyncExitStack) -> None:
        kept: Identity | None = None
        if self.settings.state is not None:
            self._state = StateFile(self.settings.state)
            exits.push_async_callback(self._state.close)
            kept = Identity.of(self._state.facts())
        self._identity = kept or Identity.make()
        if self._state is not None:
            for name, value in self._identity.facts().items():
                self._state.keep(name, value)
            self._state.attach(self.store)

    def _build(self, exits: contextlib.AsyncExitStack) -> tuple[Cluster, PortAllocator]:
        settings = self.settings
        clock = Clock()
        exits.callback(clock.stop)
        ports = PortAllocator(self.store, settings.node_ip, binds=settings.data_plane)
        exits.callback(ports.close)
        ports.watch()
        cluster = Cluster(
            settings=settings,
            store=self.store,
            clock=clock,
            faults=self.faults,
            registry=Registry(self.store, clock, ports),
            recorder=Recorder(self.store, clock),
            mounts=Mounts(self.store, clock, settings.delays.mount_s),
            logs=PodLogs(),
            chance=random.Random(self.store.version),
            forwards=list(settings.forwards),
        )
        return cluster, ports

    def _furnish(self, cluster: Cluster, controllers: Controllers) -> None:
        """Make what a new cluster comes with; what is there already stays."""
        registry, store = cluster.registry, self.store
        for name in _NAMESPACES:
            if store.get(NAMESPACES, "", name) is None:
                registry.create(NAMESPACES, "", {"metadata": {"name": name}})
            controllers.namespaces.furnish(name)
        storage_class = default_storage_class()
        if store.get(STORAGE_CLASSES, "", storage_class["metadata"]["name"]) is None:
            registry.create(STORAGE_CLASSES, "", storage_class)
        if store.get(NODES, "", NODE_NAME) is None:
            registry.create(NODES, "", _node())
        node = registry.get(NODES, "", NODE_NAME)
        addresses = [
            {"type": "InternalIP", "address": self.settings.node_ip},
            {"type": "Hostname", "address": NODE_NAME},
        ]
        registry.write_status(NODES, node, {**node["status"], "addresses": addresses})

    async def _serve(self, exits: contextlib.AsyncExitStack, api: Api) -> None:
        app = web.Application(client_max_size=BODY_LIMIT)
        app.router.add_route("*", "/{path:.*}", api.handle)
        host = self.settings.host
        names = (host, "127.0.0.1", "localhost", self.settings.node_ip, "kubernetes")
        context = self.identity.server_context(names)
        kept_port = int(self._state.facts().get("port", "0")) if self._state else 0
        try:
            port = await _listen(exits, app, host, self.settings.port or kept_port, context)
        except OSError:
            if self.settings.port or not kept_port:
                raise
            port = await _listen(exits, app, host, 0, context)
        if self._state is not None:
            # The next run takes the same port, so that kubeconfigs in use stay good.
            self._state.keep("port", str(port))
        self.url = f"https://{host}:{port}"

    async def _settle(self) -> None:
        if self._state is not None:
            await self._state.settle()

    async def _save(self) -> None:
        """Write what controllers changed; what clients change is written before they hear of it."""
        while True:
            await asyncio.sleep(_STATE_PAUSE_S)
            try:
                await self._settle()
            except Exception:
                log.exception("state.failed")


async def _listen(
    exits: contextlib.AsyncExitStack,
    app: web.Application,
    host: str,
    port: int,
    context: Any = None,
) -> int:
    """Serve an application until the stack closes; return the port. Raises OSError."""
    runner = web.AppRunner(
        app, access_log=None, handler_cancellation=True, shutdown_timeout=_SHUTDOWN_S
    )
    exits.push_async_callback(runner.cleanup)
    await runner.setup()
    await web.TCPSite(runner, host, port, ssl_context=context).start()
    return int(runner.addresses[0][1])


@contextlib.asynccontextmanager
async def _running(loop: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    task = asyncio.create_task(loop)
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def _node() -> Json:
    capacity = {"cpu": "64", "memory": "256Gi", "pods": "500", "ephemeral-storage": "1Ti"}
    labels = {
        SIMULATED_LABEL: "true",
        "kubernetes.io/hostname": NODE_NAME,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
    }
    return {
        "metadata": {"name": NODE_NAME, "labels": labels},
        "spec": {"podCIDR": "10.244.0.0/16"},
        "status": {
            "capacity": capacity,
            "allocatable": dict(capacity),
            "nodeInfo": {"kubeletVersion": "v1.34.4+simulated", "architecture": "amd64"},
        },
    }
