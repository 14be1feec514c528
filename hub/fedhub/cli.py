"""``fedhub``: serve the hub; print its API document."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from fedcore import log
from fedcore.errors import FedError
from fedhub.api.app import document
from fedhub.run import serve as serve_hub
from fedhub.settings import HubSettings

app = typer.Typer(help="The hub of the FATE Lifecycle Manager.", no_args_is_help=True)


@app.command()
def serve(
    *,
    state: Annotated[Path | None, typer.Option(help="Folder of the hub's files.")] = None,
    listen: Annotated[str | None, typer.Option(help="host:port of REST.")] = None,
    enrol_listen: Annotated[str | None, typer.Option(help="host:port of enrolment.")] = None,
    link_listen: Annotated[str | None, typer.Option(help="host:port of the agent link.")] = None,
    public_host: Annotated[
        str | None, typer.Option(help="Name or IP that agents and people use.")
    ] = None,
    database_url: Annotated[
        str | None, typer.Option(help="SQLAlchemy URL; default: SQLite in the state folder.")
    ] = None,
    ready_file: Annotated[
        Path | None, typer.Option(help="Written (JSON) when requests are served.")
    ] = None,
    show_config: Annotated[
        bool, typer.Option(help="Print the settings in force, and stop.")
    ] = False,
) -> None:
    """Serve REST, enrolment and agent link until SIGTERM. More settings: FEDHUB_… variables."""
    overrides: dict[str, Any] = {
        name: value
        for name, value in {
            "state": state,
            "listen": listen,
            "enrol_listen": enrol_listen,
            "link_listen": link_listen,
            "public_host": public_host,
            "database_url": database_url,
        }.items()
        if value is not None
    }
    try:
        settings = HubSettings(**overrides)
    except ValidationError as error:
        typer.echo(_explain(error), err=True)
        raise typer.Exit(2) from error
    if show_config:
        typer.echo(json.dumps(_masked(settings), indent=2))
        return
    log.configure(level=settings.log_level)
    try:
        asyncio.run(serve_hub(settings, ready_file))
    except FedError as error:
        typer.echo(f"fedhub: {error.message}", err=True)
        raise typer.Exit(1) from error


@app.command()
def openapi() -> None:
    """Print the OpenAPI document of this version."""
    json.dump(document(), sys.stdout, indent=2)
    sys.stdout.write("\n")


def _explain(error: ValidationError) -> str:
    lines = [
        f"fedhub: setting {'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}"
        for fault in error.errors()
    ]
    return "\n".join(lines)


def _masked(settings: HubSettings) -> dict[str, object]:
    """Return the settings without the database's password."""
    masked: dict[str, object] = settings.model_dump(mode="json")
    url = settings.database_url
    if "@" in url and "://" in url:
        scheme, _, rest = url.partition("://")
        masked["database_url"] = f"{scheme}://***@{rest.rpartition('@')[2]}"
    return masked


def main() -> None:
    """Run the command line."""
    app()
