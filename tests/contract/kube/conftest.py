"""The two Kubernetes APIs that must keep the contract: the simulated one, and the real one.

The real one is skipped, with the command that builds it, where it cannot be had.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    contextmanager,
)
from pathlib import Path
from typing import Any, Protocol

import pytest
import pytest_asyncio
from tests.support.controlplane import ControlPlane, Planes
from tests.support.patience import patient

from fedagent.kube.client import Kube, connect
from fedagent.kube.kinds import DEPLOYMENTS, NAMESPACES, SERVICEACCOUNTS
from fedagent.kube.objects import apply, wait_until
from fedsim.kube import Delays, Forward, KubeSettings, SimulatedKube

Json = dict[str, Any]
SESSION = "session"


class Cluster(Protocol):
    """What a test needs beside the API itself."""

    kubeconfig: Path
    hides_contents: bool
    """A list of metadata alone can be had."""

    async def forget_history(self) -> None:
        """Make every resource version of the past too old to watch from."""

    def silent(self) -> AbstractContextManager[None]:
        """Keep the server from saying anything to its watchers."""

    async def forward(self, namespace: str, pod_port: int, host_port: int) -> None:
        """Let port-forwards to the namespace's pods end at a port of this machine."""

    async def allow_exec(self, namespace: str) -> None:
        """Let commands run in the namespace's pods."""


class Simulated:
    def __init__(self, kube: SimulatedKube, kubeconfig: Path) -> None:
        self._kube = kube
        self.kubeconfig = kubeconfig
        self.hides_contents = False

    async def forget_history(self) -> None:
        self._kube.faults.set("watch-gone", "1")

    @contextmanager
    def silent(self) -> Iterator[None]:
        self._kube.faults.set("watch-silent")
        yield
        self._kube.faults.clear("watch-silent")

    async def forward(self, namespace: str, pod_port: int, host_port: int) -> None:
        forward = Forward(namespace, "", pod_port, "127.0.0.1", host_port)
        self._kube.cluster.forwards.append(forward)

    async def allow_exec(self, namespace: str) -> None:
        """Simulated pods run a few commands at any time."""


class Real:
    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        self.kubeconfig = plane.kubeconfig
        self.hides_contents = True

    async def forget_history(self) -> None:
        # A new server knows nothing older than its start.
        await self._plane.restart("kube-apiserver")

    @contextmanager
    def silent(self) -> Iterator[None]:
        self._plane.pause("kube-apiserver")
        try:
            yield
        finally:
            self._plane.resume("kube-apiserver")

    async def forward(self, namespace: str, pod_port: int, host_port: int) -> None:
        await self._plane.kwok.forward(namespace, {pod_port: host_port})

    async def allow_exec(self, namespace: str) -> None:
        await self._plane.kwok.allow_exec(namespace, folder=self._plane.folder)


@asynccontextmanager
async def simulated(folder: Path, _planes: Planes) -> AsyncIterator[Cluster]:
    settings = KubeSettings(delays=Delays.none(), data_plane=False)
    async with SimulatedKube(settings) as kube:
        kubeconfig = folder / "kubeconfig"
        kube.write_kubeconfig(kubeconfig)
        yield Simulated(kube, kubeconfig)


@asynccontextmanager
async def real(_folder: Path, planes: Planes) -> AsyncIterator[Cluster]:
    yield Real(await planes.get())


CLUSTERS: dict[str, Callable[[Path, Planes], AbstractAsyncContextManager[Cluster]]] = {
    "simulated": simulated,
    "real": real,
}


@pytest_asyncio.fixture(
    scope=SESSION,
    loop_scope=SESSION,
    params=["simulated", pytest.param("real", marks=pytest.mark.kube)],
)
async def cluster(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, planes: Planes
) -> AsyncIterator[Cluster]:
    async with CLUSTERS[request.param](tmp_path_factory.mktemp("cluster"), planes) as opened:
        yield opened


@pytest_asyncio.fixture(scope=SESSION, loop_scope=SESSION)
async def kube(cluster: Cluster) -> AsyncIterator[Kube]:
    async with connect(cluster.kubeconfig) as opened:
        yield opened


@pytest.fixture(scope=SESSION)
def numbers() -> Callable[[], int]:
    counter = itertools.count(1)
    return lambda: next(counter)


@pytest_asyncio.fixture(loop_scope=SESSION)
async def namespace(kube: Kube, numbers: Callable[[], int]) -> str:
    """A namespace of the test's own, with the account that pods need."""
    name = f"contract-{numbers()}"
    await apply(kube, NAMESPACES, {"metadata": {"name": name}})
    assert await wait_until(
        kube, SERVICEACCOUNTS, "default", bool, namespace=name, limit_s=patient()
    )
    return name


@pytest.fixture
def deploy(kube: Kube, namespace: str) -> Callable[..., Awaitable[None]]:
    """Apply a Deployment and wait until its pods serve."""

    async def run(name: str = "web", replicas: int = 1) -> None:
        await apply(kube, DEPLOYMENTS, deployment(name, replicas), namespace=namespace)
        assert await wait_until(
            kube,
            DEPLOYMENTS,
            name,
            lambda body: body is not None and is_complete(body, replicas),
            namespace=namespace,
            limit_s=patient(),
        )

    return run


@pytest_asyncio.fixture(loop_scope=SESSION)
async def echo_port() -> AsyncIterator[int]:
    """A server on this machine that answers in capitals."""
    async with running_echo() as port:
        yield port


@asynccontextmanager
async def running_echo() -> AsyncIterator[int]:
    writers: set[asyncio.StreamWriter] = set()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.add(writer)
        while data := await reader.read(65536):
            writer.write(data.upper())
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in writers:
            writer.close()
        await server.wait_closed()


def deployment(name: str, replicas: int = 1) -> Json:
    labels = {"app": name}
    container = {"name": "main", "image": "registry.example/web:1"}
    return {
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }


def is_complete(body: Json, replicas: int) -> bool:
    status = body.get("status", {})
    counts = [status.get(name, 0) for name in ("readyReplicas", "updatedReplicas", "replicas")]
    is_seen = status.get("observedGeneration", 0) >= body["metadata"]["generation"]
    return is_seen and counts == [replicas] * 3
