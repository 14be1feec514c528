"""Which KubeFATE the contract suite runs on.

Always: the simulated service on the simulated Kubernetes. Where the programs are there: the
simulated service on a real control plane. Where KUBEFATE_URL is set (with KUBEFATE_USERNAME,
KUBEFATE_PASSWORD, KUBECONFIG and, unless the charts are in its database, KUBEFATE_CHARTS: the
folder of the official 1.8.0 archives): a real service.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import aiohttp
import pytest
import pytest_asyncio
from tests.contract.kubefate.client import Client, archive_of
from tests.support.controlplane import Planes

from fedsim.kube import Delays, KubeSettings, SimulatedKube
from fedsim.kubefate import Settings, SimulatedKubeFATE
from fedsim.kubefate.kubeconfig import load_access
from fedsim.kubefate.kubernetes_api import KubernetesApi

CHARTS = ("fate-exchange", "fate")


@dataclass(slots=True)
class Site:
    """A service, its Kubernetes, and a client that is logged in."""

    client: Client
    kube: KubernetesApi
    username: str
    password: str
    is_real: bool

    async def namespace(self, word: str = "site", *, secrets: bool = True) -> str:
        """Make a namespace with the certificates that the charts mount."""
        name = f"{word}-{uuid4().hex[:8]}"
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        await self.kube.create("Namespace", "", body)
        for secret in ("pulsar-cert", "traffic-server-cert") if secrets else ():
            await self.add_secret(name, secret)
        return name

    async def add_secret(self, namespace: str, name: str) -> None:
        metadata = {"name": name, "namespace": namespace}
        body = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": {"a": "Yg=="}}
        await self.kube.create("Secret", namespace, body)

    async def text(self, namespace: str, config: str, key: str) -> str:
        found = await self.kube.get("ConfigMap", namespace, config)
        return str(found["data"][key])


@pytest_asyncio.fixture(
    scope="session",
    loop_scope="session",
    params=[
        "simulated",
        pytest.param("simulated-on-control-plane", marks=pytest.mark.kube),
        "real",
    ],
)
async def site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, planes: Planes
) -> AsyncIterator[Site]:
    async with AsyncExitStack() as stack:
        if request.param == "real":
            yield await _real(stack)
            return
        if request.param == "simulated":
            settings = KubeSettings(delays=Delays.none(), data_plane=False)
            kube = await stack.enter_async_context(SimulatedKube(settings))
            kubeconfig = tmp_path_factory.mktemp("kube") / "config"
            kube.write_kubeconfig(kubeconfig)
        else:
            kubeconfig = (await planes.get()).kubeconfig
        yield await _simulated(stack, kubeconfig)


async def _simulated(stack: AsyncExitStack, kubeconfig: Path) -> Site:
    settings = Settings(kubeconfig=kubeconfig, offline=True, time_scale=0.05, job_limit_s=600)
    service = await stack.enter_async_context(SimulatedKubeFATE(settings))
    site = await _site(stack, service.url, ("admin", "admin"), kubeconfig, is_real=False)
    for name in CHARTS:
        assert (await site.client.upload(archive_of(name, "v1.8.0"))).status == 200
    return site


async def _real(stack: AsyncExitStack) -> Site:
    url = os.environ.get("KUBEFATE_URL")
    if not url:
        pytest.skip("KUBEFATE_URL is not set: no real KubeFATE to run the contract suite on")
    login = (os.environ["KUBEFATE_USERNAME"], os.environ["KUBEFATE_PASSWORD"])
    site = await _site(stack, url, login, Path(os.environ["KUBECONFIG"]), is_real=True)
    folder = os.environ.get("KUBEFATE_CHARTS")
    for name in CHARTS if folder else ():
        archive = Path(str(folder), f"{name}-v1.8.0.tgz")
        content = await asyncio.to_thread(archive.read_bytes)
        assert (await site.client.upload(content)).status == 200
    return site


async def _site(
    stack: AsyncExitStack, url: str, login: tuple[str, str], kubeconfig: Path, *, is_real: bool
) -> Site:
    session = await stack.enter_async_context(aiohttp.ClientSession())
    kube = await stack.enter_async_context(KubernetesApi(load_access(kubeconfig)))
    client = Client(session, url)
    assert (await client.login(*login)).status == 200
    return Site(client, kube, *login, is_real=is_real)


@pytest.fixture
def pack() -> object:
    return archive_of
