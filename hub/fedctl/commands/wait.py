"""``wait``: until something is ready or gone, with progress."""

from __future__ import annotations

from typing import Annotated

import typer

from fedctl.client import Client
from fedctl.commands.session import DEFAULT_WAIT, TimeoutOption, limit_of, run
from fedctl.errors import CliError, ExitCode
from fedctl.progress import display, wait
from fedctl.render import say
from fedctl.resources import reference
from fedctl.text import clean
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
    limit_s = limit_of(timeout)
    source, subject = _source(resource or [], operation, goal)

    async def work(client: Client) -> None:
        await wait(client, source, limit_s=limit_s, shown=display(), subject=subject)

    run(ctx, work)
    say(f"{clean(subject)} {'is ' + goal if operation is None else 'has succeeded'}")


def _source(words: list[str], operation: str | None, goal: Goal) -> tuple[StatusSource, str]:
    if (operation is None) == (not words):
        raise CliError(
            ExitCode.USAGE,
            "name what to wait for",
            hint="`fedctl wait federation/NAME` or `fedctl wait --operation ID`",
        )
    if operation is not None:
        identifier = operation.removeprefix("operation/")
        return operation_source(identifier), f"operation {identifier}"
    kind, name = reference(words)
    return resource_source(kind, name, goal), f"{kind.singular}/{name}"
