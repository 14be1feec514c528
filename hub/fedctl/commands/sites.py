"""``site invite``, ``site revoke``, ``certificate revoke``: who may take part."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Final

import typer

from fedctl.client import Json, path_of
from fedctl.commands.session import OutputOption, run
from fedctl.errors import CliError, ExitCode, FieldError
from fedctl.render import Output, emit, say
from fedctl.text import clean, seconds_of

_OPTIONS: Final = {"name": "NAME", "life_s": "--life", "labels": "--label"}
_RUN_OPTIONS: Final = "--state fedagent-state --kubeconfig ~/.kube/config"
site_app = typer.Typer(help="Invite sites and revoke them.", no_args_is_help=True)
certificate_app = typer.Typer(help="Revoke certificates.", no_args_is_help=True)


@site_app.command("invite")
def invite(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="Name of the site, such as alpha.")],
    *,
    life: Annotated[str, typer.Option(help="How long the token is good: 15m, up to 24h.")] = "15m",
    label: Annotated[
        list[str] | None, typer.Option(help="Label of the site as KEY=VALUE; repeatable.")
    ] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Make a one-time token for a site's agent; it is shown this once."""
    body = {"name": name, "life_s": seconds_of(life, "--life"), "labels": _labels(label or [])}

    found = _in_options(
        lambda: run(ctx, lambda client: client.request("POST", path_of("sites"), body=body)).body
    )
    if emit(output, found):
        return
    site = f"site/{clean(found['site']['name'])}"
    if output is Output.NAME:
        say(site)
        return
    say(f"{site} invited; the token is good for {life}. At the site, once:")
    say()
    say(f"  {clean(found['join_command'])}")
    say()
    say(f"then: fedagent run {_RUN_OPTIONS}")
    say("The token works once and is not shown again. Change these where they do not fit:")
    say("  --state       folder that keeps the agent's identity and journal; the same for both")
    say("  --kubeconfig  file that reaches the site's cluster; without it inside the cluster")


@site_app.command("revoke")
def revoke(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="Name of the site.")],
    *,
    output: OutputOption = Output.TABLE,
) -> None:
    """Revoke a site's agent: its stream is cut at once; what runs at the site goes on."""
    path = path_of("sites", name, "revocation")
    found = run(ctx, lambda client: client.request("POST", path)).body
    if not emit(output, found):
        say(f"site/{clean(name)} revoked; `fedctl site invite {clean(name)}` lets it back in")


@certificate_app.command("revoke")
def revoke_certificate(
    ctx: typer.Context,
    serial: Annotated[str, typer.Argument(help="Serial of the certificate, whole.")],
    *,
    output: OutputOption = Output.TABLE,
) -> None:
    """Revoke one certificate."""
    path = path_of("certificates", serial, "revocation")
    found = run(ctx, lambda client: client.request("POST", path)).body
    if not emit(output, found):
        say(f"certificate/{clean(serial)} revoked")


def _in_options(call: Callable[[], Json]) -> Json:
    """Carry out a call whose faults name the fields of the body: name the options instead."""
    try:
        return call()
    except CliError as failure:
        if not failure.faults:
            raise
        faults = tuple(
            FieldError(_OPTIONS.get(one.path, one.path), one.message) for one in failure.faults
        )
        raise CliError(
            failure.code, "the invitation cannot be made", faults=faults, hint=failure.hint
        ) from failure


def _labels(pairs: list[str]) -> dict[str, str]:
    found = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise CliError(ExitCode.USAGE, f"--label {pair!r} is not KEY=VALUE")
        found[key] = value
    return found
