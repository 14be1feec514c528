"""``wait``: until something is ready or gone, with progress."""

from __future__ import annotations

from typing import Annotated

import typer

from fedcore.terminal_text import escape
from fedctl.client import Client
from fedctl.commands.invocation import run
from fedctl.commands.options import DEFAULT_WAIT, TimeoutOption, parse_timeout
from fedctl.errors import CliError, ExitCode
from fedctl.progress import choose_display, wait
from fedctl.render import print_line
from fedctl.resources import parse_reference
from fedctl.wait_status import Goal, StatusSource, operation_source, resource_source


def wait_command(
    ctx: typer.Context,
    resource: Annotated[
        list[str] | None,
        typer.Argument(help="KIND/NAME or KIND NAME, such as federation/credit-risk."),
    ] = None,
    *,
    operation: Annotated[
        str | None, typer.Option("--operation", help="Follow this operation to its end.")
    ] = None,
    goal: Annotated[Goal, typer.Option("--for", help="What to wait for.")] = Goal.READY,
    timeout: TimeoutOption = DEFAULT_WAIT,
) -> None:
    """Wait until a federation, participant, endpoint, site or operation is ready, or gone.

    A failure that only a person can mend ends it at once, with its cause; a site out of sight
    does not.
    """
    limit_s = parse_timeout(timeout)
    source, subject = _source(resource or [], operation, goal)

    async def work(client: Client) -> None:
        display = choose_display(client.timing)
        await wait(client, source, limit_s=limit_s, display=display, subject=subject)

    run(ctx, work)
    print_line(f"{escape(subject)} {f'is {goal}' if operation is None else 'has succeeded'}")


def _source(words: list[str], operation: str | None, goal: Goal) -> tuple[StatusSource, str]:
    """Return where the status comes from, and the words for it in messages."""
    if (operation is None) == (not words):
        raise CliError(
            ExitCode.USAGE,
            "name what to wait for",
            hint="`fedctl wait federation/NAME` or `fedctl wait --operation ID`",
        )
    if operation is not None:
        operation_id = operation.removeprefix("operation/")
        return operation_source(operation_id), f"operation {operation_id}"
    kind, name = parse_reference(words)
    return resource_source(kind, name, goal), f"{kind.singular}/{name}"
