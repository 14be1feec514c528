"""``site invite``, ``site revoke``, ``certificate revoke``: who may take part."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Final

import typer

from fedcore.errors import FieldError
from fedcore.terminal_text import escape
from fedctl.client import Json, path_of
from fedctl.commands.invocation import run
from fedctl.commands.options import OutputOption
from fedctl.durations import parse_duration
from fedctl.errors import CliError, ExitCode
from fedctl.render import Output, emit, print_line

_OPTION_NAMES: Final = {"name": "NAME", "life_s": "--life", "labels": "--label"}
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
    body = {"name": name, "life_s": parse_duration(life, "--life"), "labels": _labels(label or [])}
    invitation = _with_option_names(
        lambda: run(ctx, lambda client: client.request("POST", path_of("sites"), body=body)).body
    )
    if emit(output, invitation):
        return
    site = f"site/{escape(invitation['site']['name'])}"
    if output is Output.NAME:
        print_line(site)
        return
    print_line(f"{site} invited; the token is good for {life}. At the site, once:")
    print_line()
    print_line(f"  {escape(invitation['join_command'])}")
    print_line()
    print_line(f"then: fedagent run {_RUN_OPTIONS}")
    print_line("The token works once and is not shown again. Change these where they do not fit:")
    print_line(
        "  --state       folder that keeps the agent's identity and journal; the same for both"
    )
    print_line(
        "  --kubeconfig  file that reaches the site's cluster; without it inside the cluster"
    )


@site_app.command("revoke")
def revoke(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="Name of the site.")],
    *,
    output: OutputOption = Output.TABLE,
) -> None:
    """Revoke a site's agent: its stream is cut at once; what runs at the site goes on."""
    path = path_of("sites", name, "revocation")
    site = run(ctx, lambda client: client.request("POST", path)).body
    if not emit(output, site):
        print_line(
            f"site/{escape(name)} revoked; `fedctl site invite {escape(name)}` lets it back in"
        )


@certificate_app.command("revoke")
def revoke_certificate(
    ctx: typer.Context,
    serial: Annotated[str, typer.Argument(help="Serial of the certificate, whole.")],
    *,
    output: OutputOption = Output.TABLE,
) -> None:
    """Revoke one certificate."""
    path = path_of("certificates", serial, "revocation")
    certificate = run(ctx, lambda client: client.request("POST", path)).body
    if not emit(output, certificate):
        print_line(f"certificate/{escape(serial)} revoked")


def _with_option_names(call: Callable[[], Json]) -> Json:
    """Carry out a call; its errors name the options in place of the body's fields."""
    try:
        return call()
    except CliError as error:
        if not error.errors:
            raise
        errors = tuple(
            FieldError(_OPTION_NAMES.get(field.path, field.path), field.message)
            for field in error.errors
        )
        raise CliError(
            error.code, "the invitation cannot be made", errors=errors, hint=error.hint
        ) from error


def _labels(pairs: list[str]) -> dict[str, str]:
    labels = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise CliError(ExitCode.USAGE, f"--label {pair!r} is not KEY=VALUE")
        labels[key] = value
    return labels
