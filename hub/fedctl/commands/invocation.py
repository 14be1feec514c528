"""One run of the command line: its configuration, its timing, and a client while it works."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

import typer

from fedctl.client import Client, connect
from fedctl.config import Overrides, load
from fedctl.errors import CliError, ExitCode
from fedctl.timing import Timing

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Invocation:
    """What every command gets by typer's context."""

    timing: Timing
    overrides: Overrides = field(default_factory=Overrides)


def run(ctx: typer.Context, work: Callable[[Client], Awaitable[T]]) -> T:
    """Carry out ``work`` with a client of the configured hub."""
    invocation = ctx.find_object(Invocation)
    if invocation is None:
        raise AssertionError("fedctl.cli puts an Invocation into every context")
    settings = load(invocation.overrides)

    async def work_connected() -> T:
        async with connect(settings, invocation.timing) as client:
            return await work(client)

    try:
        return asyncio.run(work_connected())
    except KeyboardInterrupt as error:
        raise CliError(ExitCode.INTERRUPTED, "interrupted; what was begun goes on") from error
