"""The command ``fedsim kube``: one simulated cluster as a process."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from fedsim.faults import FaultError, Service, describe
from fedsim.kube.server import SimulatedKube
from fedsim.kube.settings import Delays, Forward, KubeSettings
from fedsim.program import ready, wait_for_signal

_FAULT_HELP = (
    f"Order to misbehave, NAME[=ARGUMENT]; repeatable. Faults:\n\n{describe(Service.KUBE)}"
)


def command(  # noqa: PLR0913 - one parameter per option of the command line
    *,
    host: Annotated[str, typer.Option(help="Address of the API server.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port of the API server; 0 takes a free one.")] = 0,
    admin_port: Annotated[
        int | None, typer.Option(help="Loopback port of the admin endpoint; 0 takes a free one.")
    ] = None,
    node_ip: Annotated[
        str, typer.Option(help="The node's address, where node ports listen (any 127.x.y.z).")
    ] = "127.0.0.1",
    load_balancer_ip: Annotated[
        str | None, typer.Option(help="Address that LoadBalancer Services get; none: pending.")
    ] = None,
    state: Annotated[
        Path | None, typer.Option(help="File that keeps the cluster over restarts.")
    ] = None,
    kubeconfig: Annotated[
        Path | None, typer.Option(help="Where to write the kubeconfig (mode 0600).")
    ] = None,
    ready_file: Annotated[
        Path | None, typer.Option(help="File written when serving: url, node IP, admin url.")
    ] = None,
    forward: Annotated[
        list[str] | None,
        typer.Option(help="NAMESPACE/POD-PREFIX:PORT=HOST:PORT, for port-forwards; repeatable."),
    ] = None,
    fault: Annotated[list[str] | None, typer.Option(help=_FAULT_HELP)] = None,
    ready_delay: Annotated[
        str, typer.Option(help="Seconds until a pod is ready: a figure, or FROM-TO.")
    ] = "1-3",
    reload_delay: Annotated[
        str, typer.Option(help="Seconds until Traffic Server takes its table: as above.")
    ] = "3-7",
) -> None:
    """Serve a simulated Kubernetes cluster until SIGTERM or Ctrl-C."""
    try:
        settings = KubeSettings(
            host=host,
            port=port,
            admin_port=admin_port,
            node_ip=node_ip,
            load_balancer_ip=load_balancer_ip,
            state=state,
            delays=Delays(ready_s=_interval(ready_delay), sni_reload_s=_interval(reload_delay)),
            forwards=tuple(Forward.parse(text) for text in forward or ()),
            faults=tuple(fault or ()),
        )
        kube = SimulatedKube(settings)
    except (ValueError, FaultError) as error:
        raise typer.BadParameter(str(error)) from error
    kubeconfig = kubeconfig.absolute() if kubeconfig else None
    asyncio.run(_run(kube, kubeconfig, ready_file))


async def _run(kube: SimulatedKube, kubeconfig: Path | None, ready_file: Path | None) -> None:
    async with kube:
        if kubeconfig is not None:
            kube.write_kubeconfig(kubeconfig)
        facts = {
            "url": kube.url,
            "node_ip": kube.settings.node_ip,
            "admin_url": kube.admin_url,
            "kubeconfig": str(kubeconfig) if kubeconfig else None,
        }
        with ready(ready_file, facts):
            await wait_for_signal()


def _interval(text: str) -> tuple[float, float]:
    """Read ``2`` or ``1-3``; raises `ValueError`."""
    first, dash, last = text.partition("-")
    low, high = float(first), float(last if dash else first)
    if not 0 <= low <= high:
        raise ValueError(f"{text!r} is no interval of seconds")
    return low, high
