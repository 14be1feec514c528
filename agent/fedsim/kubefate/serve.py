"""The command ``fedsim kubefate``."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path
from typing import Annotated

import structlog
import typer

from fedsim.faults import FaultError, Service, describe
from fedsim.kubefate.kubeconfig import KubeconfigError
from fedsim.kubefate.service import SimulatedKubeFATE
from fedsim.kubefate.settings import SecretName, ServiceVersion, Settings

log = structlog.get_logger()
_FAULT_HELP = "Order a fault, as NAME or NAME=ARGUMENT; repeatable.\n\n" + describe(
    Service.KUBEFATE
)


def command(  # noqa: PLR0913 - the options of a command line
    *,
    kubeconfig: Annotated[Path, typer.Option(help="Kubernetes API to deploy to.")],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.")] = 0,
    admin_port: Annotated[
        int | None, typer.Option(help="Loopback port of the admin endpoint.")
    ] = None,
    version: Annotated[
        ServiceVersion, typer.Option(help="Service version to behave as.")
    ] = ServiceVersion.V1_4_5,
    username: Annotated[str, typer.Option(help="User made at each start.")] = "admin",
    password: Annotated[
        str, typer.Option(help="That user's password.", envvar="FEDSIM_KUBEFATE_PASSWORD")
    ] = "admin",
    credentials_secret: Annotated[
        str,
        typer.Option(help="NAMESPACE/NAME: live only while Deployment kubefate beside it does."),
    ] = "",
    state: Annotated[
        Path | None, typer.Option(help="File that keeps the records over restarts.")
    ] = None,
    offline: Annotated[bool, typer.Option(help="The chart repository is unreachable.")] = False,
    job_limit_s: Annotated[float, typer.Option(help="Limit of a job, in seconds.")] = 3600.0,
    helm_delay_s: Annotated[float, typer.Option(help="Time that Helm takes to apply.")] = 0.0,
    time_scale: Annotated[
        float,
        typer.Option(min=0.001, help="Stretch all durations of jobs; 0.1: ten times as fast."),
    ] = 1.0,
    seed: Annotated[int, typer.Option(help="Seed of faults that strike by chance.")] = 0,
    fault: Annotated[list[str] | None, typer.Option(help=_FAULT_HELP)] = None,
    ready_file: Annotated[
        Path | None, typer.Option(help="File to write, with the URLs, when serving.")
    ] = None,
) -> None:
    """Serve the KubeFATE API on the Kubernetes API of a kubeconfig, until SIGTERM or SIGINT."""
    try:
        settings = Settings(
            kubeconfig=kubeconfig,
            host=host,
            port=port,
            admin_port=admin_port,
            version=version,
            username=username,
            password=password,
            credentials_secret=SecretName.parse(credentials_secret) if credentials_secret else None,
            state=state,
            offline=offline,
            job_limit_s=job_limit_s,
            helm_delay_s=helm_delay_s,
            time_scale=time_scale,
            seed=seed,
            faults=tuple(fault or ()),
        )
        asyncio.run(_serve(settings, ready_file))
    except (FaultError, KubeconfigError, ValueError, OSError) as error:
        typer.echo(f"fedsim kubefate: {error}", err=True)
        raise typer.Exit(2) from error


async def _serve(settings: Settings, ready_file: Path | None) -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    async with SimulatedKubeFATE(settings) as service:
        log.info("kubefate.serving", url=service.url, admin=service.admin_url)
        if ready_file is not None:
            _write_ready(ready_file, service)
        await ended.wait()
    log.info("kubefate.stopped")


def _write_ready(path: Path, service: SimulatedKubeFATE) -> None:
    """Write the file whole or not at all, so that a waiting reader never sees half of it."""
    body = {"url": service.url, "admin_url": service.admin_url or None, "pid": os.getpid()}
    part = path.with_name(f"{path.name}.part")
    part.write_text(json.dumps(body))
    part.replace(path)
