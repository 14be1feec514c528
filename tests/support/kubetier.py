"""Places on real control planes, for `support/federation.py`: real clusters, simulated KubeFATE.

The agent reaches the service as the site chooses: by URL, installed by the agent itself, or found
there and adopted; the last two through the service's pod, whose port ends at our process.
"""

from __future__ import annotations

import base64
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from tests.support.controlplane import ControlPlane, Planes
from tests.support.federation import OpenPlace
from tests.support.kubeapi import RBAC
from tests.support.lifecycle import Json, Part
from tests.support.place import SitePlace
from tests.support.processes import free_ports

from fedagent.kube.client import connect
from fedagent.kubefate.client import Credentials
from fedsim.kubefate import SecretName, Settings, SimulatedKubeFATE

HOME: Final = "kube-fate"
NAMESPACES: Final = "/api/v1/namespaces"
OWN: Final = frozenset({"default", "kube-node-lease", "kube-public", "kube-system"})
"""Kubernetes' own namespaces."""
_TIME_SCALE: Final = 0.1
"""The simulated service looks at its jobs ten times as often as the real one."""

_COMMAND: Final = """#!{python} -ISE
# A pod's command, on this machine: files come from the ConfigMaps, as a quick kubelet shows them.
import json, os, pathlib, ssl, sys, urllib.request
name, *arguments = [pathlib.Path(sys.argv[0]).name, *sys.argv[1:]]
space = os.environ["NAMESPACE"]
with open({log!r}, "a") as log:
    log.write(" ".join([space, name, *arguments]) + "\\n")
if name == "cat":
    key = pathlib.Path(arguments[0]).name
    config = {{"sni.yaml": "traffic-server-sni", "route_table.yaml": "nginx-config"}}[key]
    url = f"{url}/api/v1/namespaces/{{space}}/configmaps/{{config}}"
    request = urllib.request.Request(url, headers={{"Authorization": "Bearer {token}"}})
    tls = ssl.create_default_context(cafile={ca!r})
    with urllib.request.urlopen(request, context=tls, timeout=5) as answer:
        sys.stdout.write(json.load(answer)["data"][key])
"""


class Service(StrEnum):
    """How a site comes by its KubeFATE."""

    BY_URL = "by-url"
    INSTALLED = "installed"
    ADOPTED = "adopted"


@dataclass
class RealPlace(SitePlace):
    """A real cluster, and a simulated KubeFATE in this process. `agent_kubeconfig` is the agent's
    own where it is no administrator."""

    plane: ControlPlane = field(kw_only=True)
    service: Part[SimulatedKubeFATE] = field(kw_only=True)
    agent_kubeconfig: Path | None = None
    namespaced: bool = False

    def agent_settings(self) -> dict[str, Any]:
        """Return what the agent's settings say about the place."""
        mine = {"kubeconfig": self.agent_kubeconfig} if self.agent_kubeconfig else {}
        return super().agent_settings() | mine | {"namespaced": self.namespaced}

    async def get(self, kind: str, namespace: str, name: str) -> Json:
        """Read an object of the core API as the cluster's administrator."""
        return await self.plane.api.get(f"/api/v1/namespaces/{namespace}/{kind}/{name}")

    async def text(self, namespace: str, config_map: str, key: str) -> str:
        """Read one file of a ConfigMap."""
        return str((await self.get("configmaps", namespace, config_map))["data"][key])

    async def secret(self, namespace: str, name: str) -> dict[str, bytes]:
        """Read what a Secret holds."""
        data = (await self.get("secrets", namespace, name))["data"]
        return {key: base64.b64decode(value) for key, value in data.items()}

    async def node_port(self, namespace: str, service: str, port: str) -> int:
        """Return the node port that the API server chose for a port of a Service."""
        ports = (await self.get("services", namespace, service))["spec"]["ports"]
        return next(int(row["nodePort"]) for row in ports if row["name"] == port)

    async def namespaces(self) -> set[str]:
        """Name what is there beside Kubernetes' own."""
        found = (await self.plane.api.get(NAMESPACES))["items"]
        return {str(item["metadata"]["name"]) for item in found} - OWN

    async def allow_exec(self, *namespaces: str) -> None:
        """Let the proxies of namespaces be asked for their files and told to reload."""
        for name in ("cat", "traffic_ctl", "nginx"):
            script = self.plane.bin / name
            script.write_text(
                _COMMAND.format(
                    python=sys.executable,
                    log=str(self.plane.folder / "commands.log"),
                    url=self.plane.url,
                    token=self.plane.token,
                    ca=str(self.plane.api.ca),
                )
            )
            script.chmod(0o755)
        for namespace in namespaces:
            env = {"NAMESPACE": namespace}
            await self.plane.kwok.allow_exec(namespace, folder=self.plane.folder, env=env)

    def commands(self, namespace: str) -> list[str]:
        """Return the commands that ran in a namespace's pods, without readings of files."""
        log = self.plane.folder / "commands.log"
        lines = log.read_text().splitlines() if log.exists() else []
        ran = [line.partition(" ")[2] for line in lines if line.startswith(f"{namespace} ")]
        return [line for line in ran if not line.startswith("cat ")]


@asynccontextmanager
async def real_place(
    name: str,
    folder: Path,
    plane: ControlPlane,
    how: Service = Service.BY_URL,
    *,
    home: str = HOME,
    **changes: Any,
) -> AsyncIterator[RealPlace]:
    """Open a place on a running control plane. `changes` are the simulated service's settings."""
    folder.mkdir(parents=True, exist_ok=True)
    (port,) = free_ports(1)
    given: Json = {"kubeconfig": plane.kubeconfig, "port": port, "time_scale": _TIME_SCALE}
    user = None
    if how is Service.BY_URL:
        user = Credentials("operator", "a-word-of-the-site")
        given |= {"username": user.username, "password": user.password}
    else:
        secret = SecretName(home, "kubefate-secret")
        given |= {"credentials_secret": secret, "availability_poll_s": 0.1}
        await plane.kwok.forward(home, {8080: port})
    if how is Service.ADOPTED:
        await install_by_hand(plane, home)
    settings = Settings(**(given | changes))
    async with AsyncExitStack() as stack:
        service = Part(f"kubefate.{name}", lambda: SimulatedKubeFATE(settings))
        kube = await stack.enter_async_context(connect(plane.kubeconfig))
        stack.push_async_callback(service.stop)
        await service.start()
        yield RealPlace(
            name=name,
            kubeconfig=folder / "kubeconfig",
            agent_kubeconfig=plane.kubeconfig,
            kube=kube,
            kubefate_url=f"http://127.0.0.1:{port}",
            credentials=user,
            plane=plane,
            service=service,
        )


def real_places(planes: Planes, ways: dict[str, Service], **changes: Any) -> OpenPlace:
    """Return what opens a Federation's places, one control plane for each of `ways`' names."""
    numbers = {name: number for number, name in enumerate(ways)}

    @asynccontextmanager
    async def open_place(name: str, folder: Path) -> AsyncIterator[RealPlace]:
        plane = await planes.get(numbers[name])
        async with real_place(name, folder, plane, ways[name], **changes) as place:
            yield place

    return open_place


async def sweep(plane: ControlPlane) -> None:
    """Remove what a failed test left on a cluster: namespaces, and cluster-wide rights.

    Costs a few requests where nothing was left.
    """
    api = plane.api
    left = {str(item["metadata"]["name"]) for item in (await api.get(NAMESPACES))["items"]} - OWN
    for name in left:
        await api.delete(f"{NAMESPACES}/{name}")
    for kind in ("clusterroles", "clusterrolebindings"):
        for item in (await api.get(f"{RBAC}/{kind}"))["items"]:
            meta = item["metadata"]
            if "kubernetes.io/bootstrapping" not in meta.get("labels", {}):
                await api.delete(f"{RBAC}/{kind}/{meta['name']}")
    for name in left:
        await api.wait_gone(f"{NAMESPACES}/{name}")


async def install_by_hand(plane: ControlPlane, namespace: str = HOME) -> None:
    """Put a KubeFATE there as a person would with its own manifests: no label of ours."""
    labels = {"fate": "kubefate"}
    secret = {"kubefateUsername": "somebody", "kubefatePassword": "their-own-word"}
    env = [
        {"name": variable, "valueFrom": {"secretKeyRef": {"name": "kubefate-secret", "key": key}}}
        for variable, key in (
            ("FATECLOUD_USER_USERNAME", "kubefateUsername"),
            ("FATECLOUD_USER_PASSWORD", "kubefatePassword"),
        )
    ]
    container = {"name": "kubefate", "image": "federatedai/kubefate:v1.4.5", "env": env}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    deployment = {
        "metadata": {"name": "kubefate", "labels": labels},
        "spec": {"selector": {"matchLabels": labels}, "template": template},
    }
    within = f"namespaces/{namespace}"
    await plane.api.create_namespace(namespace)
    await plane.api.post(
        f"/api/v1/{within}/secrets",
        {"metadata": {"name": "kubefate-secret"}, "stringData": secret},
    )
    await plane.api.post(f"/apis/apps/v1/{within}/deployments", deployment)
