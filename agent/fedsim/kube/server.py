"""One simulated cluster, put together: store, controllers, data plane, HTTPS and admin endpoint."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Self

import structlog
from aiohttp import web

from fedsim.faults import Faults, Service
from fedsim.kube.adminapi import admin_routes
from fedsim.kube.api import Api
from fedsim.kube.certificates import Identity, write_kubeconfig
from fedsim.kube.clock import Clock
from fedsim.kube.cluster import NODE_NAME, SIMULATED_LABEL, Cluster
from fedsim.kube.controllers import Controllers, node_conditions
from fedsim.kube.dataplane import DataPlane
from fedsim.kube.kinds import CLUSTER_ROLES, NAMESPACES, NODES, SERVICES, STORAGE_CLASSES
from fedsim.kube.lifecycle import Registry, Write
from fedsim.kube.logs import PodLogs
from fedsim.kube.mounts import Mounts
from fedsim.kube.recorder import Recorder
from fedsim.kube.requests import BODY_LIMIT
from fedsim.kube.services import PortBook
from fedsim.kube.settings import KubeSettings
from fedsim.kube.state import StateFile
from fedsim.kube.store import Json, Store
from fedsim.kube.volumes import default_storage_class

log = structlog.get_logger(__name__)

_BOOT = Write("kube-apiserver")
_NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system")
_SHUTDOWN_S = 1.0
_STATE_PAUSE_S = 0.2


class SimulatedKube:
    """A running simulated cluster: ``async with SimulatedKube(settings) as kube``."""

    def __init__(self, settings: KubeSettings | None = None) -> None:
        self.settings = settings or KubeSettings()
        self.faults = Faults(Service.KUBE, self.settings.faults, seed=self.settings.seed)
        self.store = Store(history_limit=self.settings.history_limit)
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

    def _build(self, exits: contextlib.AsyncExitStack) -> tuple[Cluster, PortBook]:
        settings = self.settings
        clock = Clock(scale=settings.time_scale, seed=settings.seed)
        exits.callback(clock.stop)
        ports = PortBook(
            self.store, settings.node_ip, seed=settings.seed, binds=settings.data_plane
        )
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
            logs=PodLogs(clock),
            chance=random.Random(f"{settings.seed}/{self.store.version}"),  # noqa: S311 - names
            forwards=list(settings.forwards),
        )
        return cluster, ports

    def _furnish(self, cluster: Cluster, controllers: Controllers) -> None:
        """Make what a new cluster comes with; what is there already stays."""
        registry, store = cluster.registry, self.store
        for name in _NAMESPACES:
            if store.get(NAMESPACES, "", name) is None:
                registry.create(NAMESPACES, "", {"metadata": {"name": name}}, _BOOT)
            controllers.namespaces.furnish(name)
        if store.get(STORAGE_CLASSES, "", "standard") is None:
            registry.create(STORAGE_CLASSES, "", default_storage_class(), _BOOT)
        if store.get(CLUSTER_ROLES, "", "cluster-admin") is None:
            registry.create(CLUSTER_ROLES, "", _administrator(), _BOOT)
        if store.get(SERVICES, "default", "kubernetes") is None:
            registry.create(SERVICES, "default", _kubernetes_service(), _BOOT)
        if store.get(NODES, "", NODE_NAME) is None:
            registry.create(NODES, "", _node(cluster), _BOOT)
        node = registry.get(NODES, "", NODE_NAME)
        status = {**node["status"], "addresses": _addresses(self.settings.node_ip)}
        registry.write_status(NODES, node, status)

    async def _serve(self, exits: contextlib.AsyncExitStack, api: Api) -> None:
        app = web.Application(client_max_size=BODY_LIMIT)
        app.router.add_route("*", "/{path:.*}", api.handle)
        hosts = (self.settings.host, "127.0.0.1", "localhost", self.settings.node_ip, "kubernetes")
        context = self.identity.server_context(hosts)
        runner = web.AppRunner(
            app, access_log=None, handler_cancellation=True, shutdown_timeout=_SHUTDOWN_S
        )
        exits.push_async_callback(runner.cleanup)
        await runner.setup()
        port = self.settings.port or self._kept_port()
        site = web.TCPSite(runner, self.settings.host, port, ssl_context=context)
        try:
            await site.start()
        except OSError:
            if self.settings.port or not port:
                raise
            site = web.TCPSite(runner, self.settings.host, 0, ssl_context=context)
            await site.start()
        bound = _port_of(runner)
        if self._state is not None:
            self._state.keep("port", str(bound))
        self.url = f"https://{self.settings.host}:{bound}"
        await self._serve_admin(exits)

    async def _serve_admin(self, exits: contextlib.AsyncExitStack) -> None:
        if self.settings.admin_port is None:
            return
        app = web.Application()
        app.add_routes(admin_routes(self.cluster))
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=_SHUTDOWN_S)
        exits.push_async_callback(runner.cleanup)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", self.settings.admin_port).start()
        self.admin_url = f"http://127.0.0.1:{_port_of(runner)}"

    def _kept_port(self) -> int:
        """Return the port of the last run, so that kubeconfigs given away stay good."""
        return int(self._state.facts().get("port", "0")) if self._state else 0

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


@contextlib.asynccontextmanager
async def _running(loop: object) -> AsyncIterator[None]:
    if not asyncio.iscoroutine(loop):
        raise TypeError("a loop is a coroutine")
    task = asyncio.create_task(loop)
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def _port_of(runner: web.AppRunner) -> int:
    return int(runner.addresses[0][1])


def _addresses(node_ip: str) -> list[Json]:
    return [
        {"type": "InternalIP", "address": node_ip},
        {"type": "Hostname", "address": NODE_NAME},
    ]


def _node(cluster: Cluster) -> Json:
    capacity = {"cpu": "64", "memory": "256Gi", "pods": "500", "ephemeral-storage": "1Ti"}
    node: Json = {
        "metadata": {
            "name": NODE_NAME,
            "labels": {
                SIMULATED_LABEL: "true",
                "kubernetes.io/hostname": NODE_NAME,
                "kubernetes.io/os": "linux",
                "kubernetes.io/arch": "amd64",
            },
        },
        "spec": {"podCIDR": "10.244.0.0/16"},
        "status": {
            "capacity": capacity,
            "allocatable": dict(capacity),
            "addresses": _addresses(cluster.settings.node_ip),
            "nodeInfo": {
                "kubeletVersion": "v1.34.4+simulated",
                "containerRuntimeVersion": "simulated://1",
                "operatingSystem": "linux",
                "architecture": "amd64",
                "osImage": "simulated",
                "kernelVersion": "simulated",
            },
        },
    }
    stamp = cluster.clock.stamp()
    node["status"]["conditions"] = node_conditions(node, stamp, is_lost=False)
    return node


def _administrator() -> Json:
    return {
        "metadata": {"name": "cluster-admin"},
        "rules": [
            {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]},
            {"nonResourceURLs": ["*"], "verbs": ["*"]},
        ],
    }


def _kubernetes_service() -> Json:
    port = {"name": "https", "port": 443, "protocol": "TCP", "targetPort": 6443}
    return {
        "metadata": {"name": "kubernetes", "labels": {"component": "apiserver"}},
        "spec": {"clusterIP": "10.96.0.1", "ports": [port]},
    }
