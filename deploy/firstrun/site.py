"""One simulated site: a Kubernetes API, a KubeFATE service, and a real agent that joins."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from fedctl.client import Client, path_of
from fedctl.failure import ExitCode, Failure

from .children import Child, Crew
from .place import Place
from .ports import LOOPBACK, SitePorts

_KUBEFATE: Final = "kube-fate/kubefate"
_LIVELY: Final = ("--ready-delay=0.5-2", "--reload-delay=1-2")
"""A real cluster takes minutes, and its proxy 3 to 7 s: here each step is seen, and no more."""


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
        *_LIVELY,
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


@dataclass(frozen=True, slots=True)
class Invitation:
    """What an agent needs to join; nothing where it has joined."""

    options: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)


def agent(place: Place, name: str, invitation: Invitation) -> Child:
    """Describe the agent, which is the real one."""
    folder = place.site(name)
    title = f"{name}-agent"
    command = [
        program("fedagent"),
        "run",
        *invitation.options,
        f"--state={folder / 'agent'}",
        f"--kubeconfig={folder / 'kubeconfig'}",
        "--kubefate-access=port-forward",
        f"--ready-file={place.ready(title)}",
    ]
    log, ready = place.log(title), place.ready(title)
    return Child(title, command, log, ready, variables=invitation.variables)


async def start(crew: Crew, place: Place, name: str, ports: SitePorts) -> None:
    """Start a site's Kubernetes API and, on it, KubeFATE; they need nothing of the hub."""
    place.site(name).mkdir(exist_ok=True, mode=0o700)
    await crew.start(cluster(place, name, ports))
    await crew.start(kubefate(place, name, ports))


async def invite(place: Place, client: Client, name: str) -> Invitation:
    """Invite a site, unless its agent joined in an earlier run."""
    if (place.site(name) / "agent" / "identity.json").exists():
        await _expect_known(place, client, name)
        return Invitation()
    body = {"name": name, "labels": {"quickstart": "true"}}
    answer = (await client.request("POST", path_of("sites"), body=body)).body
    options = (f"--join={answer['enrol_address']}", f"--ca-fingerprint={answer['ca_fingerprint']}")
    return Invitation(options, {"FEDAGENT_TOKEN": str(answer["token"])})


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
