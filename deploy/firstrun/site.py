"""One simulated site: a Kubernetes API, a KubeFATE service, and a real agent that joins."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Final

from fedctl.client import Client, path_of
from fedctl.failure import ExitCode, Failure

from .children import Child, Crew
from .place import Place
from .ports import LOOPBACK, SitePorts

JOIN_LIMIT_S: Final = 60.0
_KUBEFATE: Final = "kube-fate/kubefate"


def program(name: str) -> str:
    """Return the path of a program of this environment."""
    return str(Path(sys.prefix) / "bin" / name)


def cluster(place: Place, name: str, ports: SitePorts) -> Child:
    """Describe the Kubernetes API; forwards to KubeFATE's pods land at the simulated service."""
    folder = place.site(name)
    title = f"{name}-kube"
    command = [
        program("fedsim"),
        "kube",
        f"--port={ports.kube}",
        f"--node-ip={ports.node_ip}",
        f"--state={folder / 'kube.state'}",
        f"--kubeconfig={folder / 'kubeconfig'}",
        f"--forward={_KUBEFATE}:8080={LOOPBACK}:{ports.kubefate}",
        f"--ready-file={place.ready(title)}",
    ]
    return Child(title, command, place.log(title), place.ready(title))


def kubefate(place: Place, name: str, ports: SitePorts) -> Child:
    """Describe the KubeFATE service; it lives while the agent's installation of it does."""
    folder = place.site(name)
    title = f"{name}-kubefate"
    command = [
        program("fedsim"),
        "kubefate",
        f"--kubeconfig={folder / 'kubeconfig'}",
        f"--port={ports.kubefate}",
        f"--state={folder / 'kubefate.state'}",
        f"--credentials-secret={_KUBEFATE}-secret",
        f"--ready-file={place.ready(title)}",
    ]
    return Child(title, command, place.log(title), place.ready(title))


def agent(place: Place, name: str) -> Child:
    """Describe the agent, which is the real one."""
    folder = place.site(name)
    title = f"{name}-agent"
    command = [
        program("fedagent"),
        "run",
        f"--state={folder / 'agent'}",
        f"--kubeconfig={folder / 'kubeconfig'}",
        "--kubefate-access=port-forward",
        f"--ready-file={place.ready(title)}",
    ]
    return Child(title, command, place.log(title), place.ready(title))


async def start_cluster(crew: Crew, place: Place, name: str, ports: SitePorts) -> None:
    """Start a site's Kubernetes API; needs nothing of the hub."""
    place.site(name).mkdir(exist_ok=True, mode=0o700)
    await crew.start(cluster(place, name, ports))


async def start_rest(crew: Crew, place: Place, client: Client, name: str, ports: SitePorts) -> None:
    """Start KubeFATE, and the agent; it joins with a one-time token unless it did before."""
    async with asyncio.TaskGroup() as group:
        group.create_task(crew.start(kubefate(place, name, ports)))
        await _join(crew, place, client, name)
        await crew.start(agent(place, name))


async def _join(crew: Crew, place: Place, client: Client, name: str) -> None:
    folder = place.site(name)
    if (folder / "agent" / "identity.json").exists():
        await _expect_known(place, client, name)
        return
    body = {"name": name, "labels": {"quickstart": "true"}}
    invitation = (await client.request("POST", path_of("sites"), body=body)).body
    command = [
        program("fedagent"),
        "join",
        invitation["enrol_address"],
        "--token=-",
        f"--ca-fingerprint={invitation['ca_fingerprint']}",
        f"--state={folder / 'agent'}",
        f"--kubeconfig={folder / 'kubeconfig'}",
    ]
    log = place.log(f"{name}-join")
    await crew.call(command, log=log, text=invitation["token"] + "\n", limit_s=JOIN_LIMIT_S)


async def _expect_known(place: Place, client: Client, name: str) -> None:
    try:
        await client.get(path_of("sites", name))
    except Failure as failure:
        if failure.code is not ExitCode.NOT_FOUND:
            raise
        raise Failure(
            ExitCode.CONFLICT,
            f"the agent of {name} joined another hub than the one in {place.hub}",
            hint=f"remove {place.root} and start afresh",
        ) from failure
