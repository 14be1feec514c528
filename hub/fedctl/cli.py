"""The command ``fedctl``: its commands, and the one place where errors become exit codes."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from fedcore.exceptions import first_leaf
from fedctl.commands.apply import apply, diff
from fedctl.commands.charts import app as chart_app
from fedctl.commands.delete import delete
from fedctl.commands.events import events
from fedctl.commands.explain import ca, explain, show_version
from fedctl.commands.get import certificates, describe_command, get, routes
from fedctl.commands.invocation import Invocation
from fedctl.commands.sites import certificate_app, site_app
from fedctl.commands.wait import wait_command
from fedctl.config import Overrides
from fedctl.errors import CliError, ExitCode
from fedctl.render import prepare_streams, print_error
from fedctl.timing import Timing

DEBUG_ENV: Final = "FEDCTL_DEBUG"


def build(timing: Timing | None = None) -> typer.Typer:
    """Build the command line."""
    app = typer.Typer(
        name="fedctl",
        help="Work with federations of FATE clusters through their hub.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={
            "help_option_names": ["-h", "--help"],
            "obj": Invocation(timing or Timing()),
        },
    )
    app.callback()(_read_connection)
    app.command("apply")(apply)
    app.command("diff")(diff)
    app.command("wait")(wait_command)
    app.command("get")(get)
    app.command("describe")(describe_command)
    app.command("events")(events)
    app.command("routes")(routes)
    app.command("certificates")(certificates)
    app.command("delete")(delete)
    app.command("explain")(explain)
    app.command("ca")(ca)
    app.command("version")(show_version)
    app.add_typer(site_app, name="site")
    app.add_typer(chart_app, name="chart")
    app.add_typer(certificate_app, name="certificate")
    return app


def _read_connection(
    ctx: typer.Context,
    *,
    config: Annotated[
        Path | None, typer.Option(help="Configuration (TOML); else what FEDCTL_CONFIG names.")
    ] = None,
    hub: Annotated[
        str | None, typer.Option(help="Address of the hub, https://host:port.", envvar="FEDCTL_HUB")
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option(help="File with the token.", envvar="FEDCTL_TOKEN_FILE")
    ] = None,
    ca_file: Annotated[
        Path | None, typer.Option(help="The hub's ca.pem.", envvar="FEDCTL_CA_FILE")
    ] = None,
) -> None:
    """Work with federations of FATE clusters through their hub."""
    invocation: Invocation = ctx.obj
    overrides = Overrides(config=config, hub=hub, token_file=token_file, ca_file=ca_file)
    ctx.obj = Invocation(invocation.timing, overrides)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with a code of ``ExitCode``; no traceback reaches people."""
    prepare_streams()
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None, *, timing: Timing | None = None) -> int:
    """Run the command line and return its exit code."""
    try:
        result: Any = build(timing)(args=arguments, standalone_mode=True)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BrokenPipeError:
        # The reader (head, less) has read enough; nothing more can be written.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.OK
    except Exception as error:
        cause = first_leaf(error)
        if not isinstance(cause, CliError):
            if DEBUG_ENV in os.environ:
                raise
            cause = _unforeseen(cause)
        print_error(cause)
        return cause.code
    return result if isinstance(result, int) else ExitCode.OK


def _unforeseen(error: Exception) -> CliError:
    return CliError(
        ExitCode.INTERNAL,
        f"this cannot be understood: {type(error).__name__}: {error}",
        hint=f"compare the versions with `fedctl version`; {DEBUG_ENV}=1 shows where it happened",
    )
