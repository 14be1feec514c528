"""What every command needs: options that they share, and a client for as long as they run."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Final, TypeVar

import typer

from fedctl.client import Client, connect
from fedctl.config import Overrides, load
from fedctl.errors import CliError, ExitCode
from fedctl.render import Output
from fedctl.text import seconds_of

T = TypeVar("T")

DEFAULT_WAIT: Final = "15m"

OutputOption = Annotated[
    Output, typer.Option("-o", "--output", help="Form of the output.", show_default=True)
]
FileOption = Annotated[
    Path, typer.Option("-f", "--filename", help="File to read; - is standard input.")
]
TimeoutOption = Annotated[str, typer.Option("--timeout", help="How long to wait: 90s, 15m, 1h30m.")]
FederationFilter = Annotated[
    str | None, typer.Option("--federation", help="Only what belongs to this federation.")
]
SiteFilter = Annotated[str | None, typer.Option("--site", help="Only what is at this site.")]
ParticipantFilter = Annotated[
    str | None, typer.Option("--participant", help="Only of this participant: FEDERATION/KEY.")
]


def run(ctx: typer.Context, work: Callable[[Client], Awaitable[T]]) -> T:
    """Carry out ``work`` with a client of the configured hub."""
    overrides = ctx.obj if isinstance(ctx.obj, Overrides) else Overrides()
    settings = load(overrides)

    async def session() -> T:
        async with connect(settings) as client:
            return await work(client)

    try:
        return asyncio.run(session())
    except KeyboardInterrupt as error:
        raise CliError(ExitCode.INTERRUPTED, "interrupted; what was begun goes on") from error


def limit_of(timeout: str) -> float:
    """Read a time limit; at least one second."""
    seconds = seconds_of(timeout, "--timeout")
    if seconds < 1:
        raise CliError(ExitCode.USAGE, "--timeout must be a second or more")
    return float(seconds)
