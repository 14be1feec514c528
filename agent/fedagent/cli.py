"""``fedagent``: join a hub, run, and what a person at the site decides."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from fedagent import run as runner
from fedagent.settings import CONFIG_VARIABLE, AgentSettings
from fedagent.timing import markdown
from fedcore import log
from fedcore.errors import ErrorCode, FedError

app = typer.Typer(help="The agent of a site.", no_args_is_help=True, pretty_exceptions_enable=False)
TOKEN_VARIABLE = "FEDAGENT_TOKEN"  # noqa: S105 - the name of a variable
_EXIT = {ErrorCode.INVALID: 3, ErrorCode.UNAUTHENTICATED: 5, ErrorCode.DENIED: 5}

State = Annotated[Path | None, typer.Option(help="Folder of identity and journal.")]
Kubeconfig = Annotated[Path | None, typer.Option(help="Kubeconfig; none: in-cluster.")]
Config = Annotated[Path | None, typer.Option(help=f"TOML file; also {CONFIG_VARIABLE}.")]
IdentitySecret = Annotated[
    str | None,
    typer.Option(help="[NAMESPACE/]NAME of a Secret for the identity; none: a file of the state."),
]
Token = Annotated[
    str | None,
    typer.Option(help=f"One-time token; '-' reads standard input; also {TOKEN_VARIABLE}."),
]


def _settings(config: Path | None = None, **options: Any) -> AgentSettings:
    if config is not None:
        os.environ[CONFIG_VARIABLE] = str(config)
    try:
        return AgentSettings(
            **{name: value for name, value in options.items() if value is not None}
        )
    except ValidationError as error:
        for problem in error.errors():
            where = ".".join(str(part) for part in problem["loc"]) or "settings"
            typer.echo(f"fedagent: {where}: {problem['msg']}", err=True)
        raise typer.Exit(2) from error


def _run(work: Coroutine[Any, Any, Any]) -> Any:
    try:
        return asyncio.run(work)
    except FedError as error:
        typer.echo(f"fedagent: {error.message}", err=True)
        raise typer.Exit(_EXIT.get(error.code, 1)) from error


@app.command()
def join(
    hub: Annotated[str, typer.Argument(help="host:port of the hub's enrolment port.")],
    *,
    ca_fingerprint: Annotated[str, typer.Option(help="sha256:… of the hub's root certificate.")],
    token: Token = None,
    state: State = None,
    identity_secret: IdentitySecret = None,
    kubeconfig: Kubeconfig = None,
    config: Config = None,
) -> None:
    """Join a hub with a one-time token. Safe to repeat until it has worked."""
    settings = _settings(
        config, state=state, kubeconfig=kubeconfig, identity_secret=identity_secret
    )
    log.configure(level=settings.log_level)
    identity = _run(runner.join(settings, hub, _secret(token), ca_fingerprint))
    typer.echo(f"joined as site {identity.site_name}; now `fedagent run`")


def _secret(token: str | None) -> str:
    """Return the one-time token, from wherever the person put it."""
    if token == "-":  # noqa: S105 - the usual word for standard input
        token = sys.stdin.readline().strip()
    secret = token or os.environ.get(TOKEN_VARIABLE, "")
    if not secret:
        typer.echo(f"fedagent: give --token or {TOKEN_VARIABLE}", err=True)
        raise typer.Exit(2)
    return secret


@app.command()
def run(  # noqa: PLR0913 - one option each
    *,
    state: State = None,
    identity_secret: IdentitySecret = None,
    kubeconfig: Kubeconfig = None,
    config: Config = None,
    kubefate_access: Annotated[
        str | None, typer.Option(help="service, port-forward or url.")
    ] = None,
    kubefate_url: Annotated[str | None, typer.Option(help="For url: base URL.")] = None,
    kubefate_credentials: Annotated[
        Path | None, typer.Option(help="For url: file with username and password, 0600.")
    ] = None,
    policy: Annotated[Path | None, typer.Option(help="The site's policy file.")] = None,
    namespaced: Annotated[
        bool | None,
        typer.Option(
            "--namespaced/--cluster-wide", help="Give KubeFATE rights in its own namespace only."
        ),
    ] = None,
    ready_file: Annotated[
        Path | None, typer.Option(help="Written when the agent holds its first session.")
    ] = None,
    join_hub: Annotated[
        str | None,
        typer.Option(
            "--join", help="host:port of a hub's enrolment port: join it, unless that was done."
        ),
    ] = None,
    ca_fingerprint: Annotated[
        str, typer.Option(help="With --join: sha256:… of the hub's root certificate.")
    ] = "",
    token: Token = None,
    show_config: Annotated[bool, typer.Option(help="Print the settings in force.")] = False,
) -> None:
    """Run the agent until SIGTERM; with --join, for the first time, too."""
    settings = _settings(
        config,
        state=state,
        identity_secret=identity_secret,
        kubeconfig=kubeconfig,
        kubefate_access=kubefate_access,
        kubefate_url=kubefate_url,
        kubefate_credentials=kubefate_credentials,
        policy=policy,
        namespaced=namespaced,
    )
    if show_config:
        typer.echo(json.dumps(settings.model_dump(mode="json"), indent=2))
        return
    log.configure(level=settings.log_level)
    if join_hub is not None and not _run(runner.has_joined(settings)):
        _run(runner.join(settings, join_hub, _secret(token), ca_fingerprint))
    _run(runner.serve(settings, ready_file))


@app.command()
def status(*, state: State = None, config: Config = None) -> None:
    """Show what this site runs for the hub, from the agent's own record."""
    settings = _settings(config, state=state)
    for line in _run(runner.describe(settings)):
        typer.echo(line)


@app.command()
def approvals(*, state: State = None, config: Config = None) -> None:
    """List the actions that wait for a person at this site."""
    settings = _settings(config, state=state)
    for line in _run(runner.list_approvals(settings)):
        typer.echo(line)


@app.command()
def approve(
    approval_id: Annotated[str, typer.Argument(help="Id from `fedagent approvals`.")],
    *,
    state: State = None,
    config: Config = None,
) -> None:
    """Allow an action that the site's policy holds back for a person."""
    settings = _settings(config, state=state)
    typer.echo(_run(runner.approve(settings, approval_id, by=_who())))


@app.command()
def retry(
    resource_id: Annotated[str, typer.Argument(help="Resource id from `fedagent status`.")],
    *,
    state: State = None,
    config: Config = None,
) -> None:
    """Try a failed resource again at once."""
    settings = _settings(config, state=state)
    typer.echo(_run(runner.retry(settings, resource_id)))


@app.command()
def timing() -> None:
    """Print every wait of the agent with its default, as the page docs/agent-timing.md."""
    typer.echo(markdown())


def _who() -> str:
    return os.environ.get("USER") or os.environ.get("LOGNAME") or f"uid {os.getuid()}"


def main() -> None:
    """Run the command line."""
    app()
