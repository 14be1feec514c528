"""One simulated site: a Kubernetes API, a KubeFATE service, and a real agent that joins."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from fedctl.client import Client, path_of
from fedctl.errors import CliError, ExitCode
from fedctl.quickstart.ports import LOOPBACK, SitePorts
from fedctl.quickstart.processes import ManagedProcess, ProcessSupervisor
from fedctl.quickstart.state_dir import StateDir

_KUBEFATE: Final = "kube-fate/kubefate"
_LIVELY: Final = ("--ready-delay=0.5-2", "--reload-delay=1-2")
"""A real cluster takes minutes, and its proxy 3 to 7 s: here each step is seen, and no more."""


def program(name: str) -> str:
    """Return the path of a program of this environment."""
    return str(Path(sys.prefix) / "bin" / name)


def cluster(state_dir: StateDir, name: str, ports: SitePorts) -> ManagedProcess:
    """Describe the Kubernetes API; forwards to KubeFATE's pods land at the simulated service."""
    folder = state_dir.site(name)
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
        f"--ready-file={state_dir.ready(title)}",
    ]
    return ManagedProcess(title, command, state_dir.log(title), state_dir.ready(title))


def kubefate(state_dir: StateDir, name: str, ports: SitePorts) -> ManagedProcess:
    """Describe the KubeFATE service; it lives while the agent's installation of it does."""
    folder = state_dir.site(name)
    title = f"{name}-kubefate"
    command = [
        program("fedsim"),
        "kubefate",
        f"--kubeconfig={folder / 'kubeconfig'}",
        f"--port={ports.kubefate}",
        f"--state={folder / 'kubefate.state'}",
        f"--credentials-secret={_KUBEFATE}-secret",
        f"--ready-file={state_dir.ready(title)}",
    ]
    return ManagedProcess(title, command, state_dir.log(title), state_dir.ready(title))


@dataclass(frozen=True, slots=True)
class Invitation:
    """What an agent needs to join; nothing where it has joined."""

    options: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)


def agent(state_dir: StateDir, name: str, invitation: Invitation) -> ManagedProcess:
    """Describe the agent, which is the real one."""
    folder = state_dir.site(name)
    title = f"{name}-agent"
    command = [
        program("fedagent"),
        "run",
        *invitation.options,
        f"--state={folder / 'agent'}",
        f"--kubeconfig={folder / 'kubeconfig'}",
        "--kubefate-access=port-forward",
        f"--ready-file={state_dir.ready(title)}",
    ]
    log, ready = state_dir.log(title), state_dir.ready(title)
    return ManagedProcess(title, command, log, ready, variables=invitation.variables)


async def start(
    supervisor: ProcessSupervisor, state_dir: StateDir, name: str, ports: SitePorts
) -> None:
    """Start a site's Kubernetes API and, on it, KubeFATE; they need nothing of the hub."""
    state_dir.site(name).mkdir(exist_ok=True, mode=0o700)
    await supervisor.start(cluster(state_dir, name, ports))
    await supervisor.start(kubefate(state_dir, name, ports))


async def invite(state_dir: StateDir, client: Client, name: str) -> Invitation:
    """Invite a site, unless its agent joined in an earlier run."""
    if (state_dir.site(name) / "agent" / "identity.json").exists():
        await _expect_known(state_dir, client, name)
        return Invitation()
    body = {"name": name, "labels": {"quickstart": "true"}}
    answer = (await client.request("POST", path_of("sites"), body=body)).body
    options = (f"--join={answer['enrol_address']}", f"--ca-fingerprint={answer['ca_fingerprint']}")
    return Invitation(options, {"FEDAGENT_TOKEN": str(answer["token"])})


async def _expect_known(state_dir: StateDir, client: Client, name: str) -> None:
    try:
        await client.get(path_of("sites", name))
    except CliError as failure:
        if failure.code is not ExitCode.NOT_FOUND:
            raise
        raise CliError(
            ExitCode.CONFLICT,
            f"the agent of {name} joined another hub than the one in {state_dir.hub}",
            hint=f"remove {state_dir.root} and start afresh",
        ) from failure
