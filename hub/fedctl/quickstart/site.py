"""One simulated site: a Kubernetes API, a KubeFATE service, and a real agent that joins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from fedctl.client import Client, path_of
from fedctl.quickstart.paths import program
from fedctl.quickstart.ports import LOOPBACK, SitePorts
from fedctl.quickstart.processes import ManagedProcess, ProcessSupervisor
from fedctl.quickstart.state_dir import StateDir

_KUBEFATE: Final = "kube-fate/kubefate"
_FAST_CLUSTER: Final = ("--ready-delay=0.5-2", "--reload-delay=1-2")
"""A real cluster takes minutes, and its proxy 3 to 7 s. Here a step takes as long as it takes to
see it."""


def cluster(state_dir: StateDir, name: str, ports: SitePorts) -> ManagedProcess:
    """Describe the Kubernetes API; forwards to KubeFATE's pods land at the simulated service."""
    folder = state_dir.site(name)
    options = [
        f"--port={ports.kube}",
        f"--node-ip={ports.node_ip}",
        f"--state={folder / 'kube.state'}",
        f"--kubeconfig={folder / 'kubeconfig'}",
        f"--forward={_KUBEFATE}:8080={LOOPBACK}:{ports.kubefate}",
        *_FAST_CLUSTER,
    ]
    return _process(state_dir, f"{name}-kube", [program("fedsim"), "kube", *options])


def kubefate(state_dir: StateDir, name: str, ports: SitePorts) -> ManagedProcess:
    """Describe the KubeFATE service; it lives while the agent's installation of it does."""
    folder = state_dir.site(name)
    options = [
        f"--kubeconfig={folder / 'kubeconfig'}",
        f"--port={ports.kubefate}",
        f"--state={folder / 'kubefate.state'}",
        f"--credentials-secret={_KUBEFATE}-secret",
    ]
    return _process(state_dir, f"{name}-kubefate", [program("fedsim"), "kubefate", *options])


@dataclass(frozen=True, slots=True)
class Invitation:
    """What an agent needs to join; nothing where it has joined."""

    options: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)


def agent(state_dir: StateDir, name: str, invitation: Invitation) -> ManagedProcess:
    """Describe the agent, which is the real one."""
    folder = state_dir.site(name)
    options = [
        *invitation.options,
        f"--state={folder / 'agent'}",
        f"--kubeconfig={folder / 'kubeconfig'}",
        "--kubefate-access=port-forward",
    ]
    process = _process(state_dir, f"{name}-agent", [program("fedagent"), "run", *options])
    process.variables = invitation.variables
    return process


def _process(state_dir: StateDir, process_name: str, command: list[str]) -> ManagedProcess:
    ready_file = state_dir.ready_file(process_name)
    return ManagedProcess(
        process_name,
        [*command, f"--ready-file={ready_file}"],
        state_dir.log(process_name),
        ready_file,
    )


async def start(
    supervisor: ProcessSupervisor, state_dir: StateDir, name: str, ports: SitePorts
) -> None:
    """Start a site's Kubernetes API and, on it, KubeFATE; they need nothing of the hub."""
    state_dir.site(name).mkdir(exist_ok=True, mode=0o700)
    await supervisor.start(cluster(state_dir, name, ports))
    await supervisor.start(kubefate(state_dir, name, ports))


async def invite(state_dir: StateDir, client: Client, name: str) -> Invitation:
    """Invite a site and make its agent forget an earlier membership, which has ended.

    An identity that is left over would keep ``fedagent run --join`` from joining.
    """
    body = {"name": name, "labels": {"quickstart": "true"}}
    answer = (await client.request("POST", path_of("sites"), body=body)).body
    state_dir.identity(name).unlink(missing_ok=True)
    options = (f"--join={answer['enrol_address']}", f"--ca-fingerprint={answer['ca_fingerprint']}")
    return Invitation(options, {"FEDAGENT_TOKEN": str(answer["token"])})
