"""A site's place as its agent finds it: a Kubernetes API, and KubeFATE or room for one."""

from __future__ import annotations

import asyncio
import json
import os
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.lifecycle import Json, Part, loopback_ip
from tests.support.processes import free_ports

from fedagent.kube.client import Kube, connect
from fedagent.kubefate.access import AccessMode, read_credentials
from fedagent.kubefate.client import Credentials, KubeFate
from fedagent.kubefate.records import Job
from fedsim.kube import Delays, Forward, KubeSettings, SimulatedKube
from fedsim.kubefate import Settings, SimulatedKubeFATE
from fedsim.kubefate.settings import SecretName

HOME = "kube-fate"
SECRET = SecretName(HOME, "kubefate-secret")
QUICK = 0.1
"""How much faster than the real one a simulated KubeFATE works."""


@dataclass
class SitePlace:
    """What an agent is told of its place, and what a test asks there.

    `kubefate_url` with `credentials`: the service is reached by URL. Without credentials the
    agent installs it, and tests read them from its Secret.
    """

    name: str
    kubeconfig: Path
    kube: Kube
    kubefate_url: str
    credentials: Credentials | None = None

    def agent_settings(self) -> dict[str, Any]:
        """Return what the agent's settings say about the place."""
        if self.credentials is None:
            return {"kubeconfig": self.kubeconfig}
        file = self.kubeconfig.with_name("kubefate.json")
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w") as out:
            json.dump(
                {"username": self.credentials.username, "password": self.credentials.password}, out
            )
        return {
            "kubeconfig": self.kubeconfig,
            "kubefate_access": AccessMode.URL,
            "kubefate_url": self.kubefate_url,
            "kubefate_credentials": file,
        }

    @asynccontextmanager
    async def kubefate(self) -> AsyncIterator[KubeFate]:
        """Open a client of the service, with the agent's own credentials."""
        user = self.credentials or await read_credentials(self.kube, HOME)
        async with KubeFate(self.kubefate_url, user) as client:
            yield client

    async def jobs(self) -> tuple[Job, ...]:
        """Return every job that the service has a record of."""
        async with self.kubefate() as client:
            return tuple(await client.jobs())

    async def submissions(self, method: str) -> Counter[str]:
        """Count the jobs of a method (ClusterInstall, …) as `namespace generation.attempt`."""
        return Counter(
            f"{job.namespace} {job.lcm_revision}"
            for job in await self.jobs()
            if job.method.value == method
        )


@dataclass
class SimulatedPlace(SitePlace):
    """A simulated cluster in this process, and a simulated KubeFATE that can be killed."""

    simulated: SimulatedKube = field(kw_only=True)
    service: Part[SimulatedKubeFATE] = field(kw_only=True)

    @property
    def requests(self) -> Json:
        """Return how many requests each route of the running service got."""
        return dict(self.service.value.requests)


def kubefate_settings(folder: Path, port: int, **changes: Any) -> Settings:
    """Return the settings of a quick service with its records on disk."""
    given: Json = {
        "kubeconfig": folder / "kubeconfig",
        "port": port,
        "credentials_secret": SECRET,
        "state": folder / "kubefate.sqlite",
        "time_scale": QUICK,
        "availability_poll_s": 0.2,
    }
    return Settings(**(given | changes))


@asynccontextmanager
async def simulated_place(
    name: str,
    folder: Path,
    *,
    kube_settings: Json | None = None,
    service_settings: Json | None = None,
    serves: bool = True,
) -> AsyncIterator[SimulatedPlace]:
    """Open a simulated place. `serves=False` leaves the service to be started later."""
    folder.mkdir(parents=True, exist_ok=True)
    given: Json = {
        "delays": Delays.none(),
        "node_ip": loopback_ip(),
        "load_balancer_ip": loopback_ip(),
    }
    async with AsyncExitStack() as stack:
        settings = KubeSettings(**(given | (kube_settings or {})))
        simulated = await stack.enter_async_context(SimulatedKube(settings))
        kubeconfig = folder / "kubeconfig"
        simulated.write_kubeconfig(kubeconfig)
        (port,) = free_ports(1)
        changes: Json = {"credentials_secret": SECRET} | (service_settings or {})
        user = None
        if changes["credentials_secret"] is None:
            user = Credentials("admin", changes.setdefault("password", "far-away"))
        wanted = kubefate_settings(folder, port, **changes)
        service = Part(f"kubefate.{name}", lambda: SimulatedKubeFATE(wanted))
        simulated.cluster.forwards.append(Forward(HOME, "kubefate", 8080, "127.0.0.1", port))
        kube = await stack.enter_async_context(connect(kubeconfig))
        stack.push_async_callback(service.stop)
        if serves:
            await service.start()
        yield SimulatedPlace(
            name=name,
            kubeconfig=kubeconfig,
            kube=kube,
            kubefate_url=f"http://127.0.0.1:{port}",
            credentials=user,
            simulated=simulated,
            service=service,
        )
        await asyncio.sleep(0)
