"""The command ``fedsim kube``: one simulated cluster as a process."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
from pathlib import Path
from typing import Annotated

import structlog
import typer

from fedsim.faults import FaultError, Service, describe
from fedsim.kube.certificates import write_private
from fedsim.kube.server import SimulatedKube
from fedsim.kube.settings import Delays, Forward, KubeSettings

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
    seed: Annotated[int, typer.Option(help="Delays and chance depend on it alone.")] = 0,
    time_scale: Annotated[
        float, typer.Option(help="Stretches every simulated delay; 0 is at once.")
    ] = 1.0,
    ready_delay: Annotated[
        str, typer.Option(help="Seconds until a pod is ready: a figure, or FROM-TO.")
    ] = "1-3",
    reload_delay: Annotated[
        str, typer.Option(help="Seconds until Traffic Server takes its table: as above.")
    ] = "3-7",
    data_plane: Annotated[
        bool, typer.Option(help="Listen on node ports with simulated proxies and brokers.")
    ] = True,
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "info",
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
            seed=seed,
            time_scale=time_scale,
            delays=Delays(ready_s=_interval(ready_delay), sni_reload_s=_interval(reload_delay)),
            forwards=tuple(Forward.parse(text) for text in forward or ()),
            faults=tuple(fault or ()),
            data_plane=data_plane,
        )
        kube = SimulatedKube(settings)
    except (ValueError, FaultError) as error:
        raise typer.BadParameter(str(error)) from error
    level = logging.getLevelNamesMapping().get(log_level.upper(), logging.INFO)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(level))
    kubeconfig = kubeconfig.absolute() if kubeconfig else None
    asyncio.run(_run(kube, kubeconfig, ready_file))


async def _run(kube: SimulatedKube, kubeconfig: Path | None, ready_file: Path | None) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with kube:
        if kubeconfig is not None:
            await asyncio.to_thread(kube.write_kubeconfig, kubeconfig)
        if ready_file is not None:
            facts = {
                "url": kube.url,
                "node_ip": kube.settings.node_ip,
                "admin_url": kube.admin_url,
                "kubeconfig": str(kubeconfig) if kubeconfig else None,
            }
            await asyncio.to_thread(write_private, ready_file, json.dumps(facts) + "\n")
        await stop.wait()
    if ready_file is not None:
        await asyncio.to_thread(ready_file.unlink, missing_ok=True)


def _interval(text: str) -> tuple[float, float]:
    """Read ``2`` or ``1-3``; raises `ValueError`."""
    first, dash, last = text.partition("-")
    low, high = float(first), float(last if dash else first)
    if not 0 <= low <= high:
        raise ValueError(f"{text!r} is no interval of seconds")
    return low, high
