"""The command ``fedsim kubefate``."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import structlog
import typer

from fedsim.faults import FaultError, Service, describe
from fedsim.kubefate.kubeconfig import KubeconfigError
from fedsim.kubefate.service import SimulatedKubeFATE
from fedsim.kubefate.settings import SecretName, Settings
from fedsim.program import ready, wait_for_signal

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
    version: Annotated[str, typer.Option(help="What the version route says.")] = "v1.4.5",
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
    time_scale: Annotated[
        float,
        typer.Option(min=0.001, help="Stretch all durations of jobs; 0.1: ten times as fast."),
    ] = 1.0,
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
            time_scale=time_scale,
            faults=tuple(fault or ()),
        )
        asyncio.run(_serve(settings, ready_file))
    except (FaultError, KubeconfigError, ValueError, OSError) as error:
        typer.echo(f"fedsim kubefate: {error}", err=True)
        raise typer.Exit(2) from error


async def _serve(settings: Settings, ready_file: Path | None) -> None:
    async with SimulatedKubeFATE(settings) as service:
        log.info("kubefate.serving", url=service.url, admin=service.admin_url)
        facts: dict[str, str | None] = {"url": service.url, "admin_url": service.admin_url or None}
        with ready(ready_file, facts):
            await wait_for_signal()
