"""``events``: what happened, and what happens."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Annotated, Final

import typer
from rich.text import Text

from fedctl.client import Client, Json, Query, path_of
from fedctl.commands.session import (
    FederationFilter,
    OutputOption,
    ParticipantFilter,
    SiteFilter,
    run,
)
from fedctl.errors import CliError, ExitCode
from fedctl.lookup import EVENTS_SHOWN, events_after, newest_events
from fedctl.render import Output, as_yaml, emit, names, say, show_items, styled
from fedctl.resources import kind_of
from fedctl.text import clean, is_clean, moment_of

_AGAIN_S: Final = 1.0


def events(  # noqa: PLR0913 - one parameter per option
    ctx: typer.Context,
    *,
    follow: Annotated[
        bool, typer.Option("-w", "--follow", help="Stay and print events as they happen.")
    ] = False,
    since_id: Annotated[
        int | None, typer.Option(min=0, help="All events after this number; 0 is from the first.")
    ] = None,
    tail: Annotated[
        int, typer.Option(min=1, max=1000, help="Newest ones, without --since-id.")
    ] = EVENTS_SHOWN,
    federation: FederationFilter = None,
    site: SiteFilter = None,
    participant: ParticipantFilter = None,
    kind: Annotated[str | None, typer.Option(help="Only this kind, such as site.joined.")] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show events in their order; with --follow, one line each (JSON: NDJSON) until Ctrl-C."""
    query: Query = {
        "federation": federation,
        "site": site,
        "participant": participant,
        "kind": kind,
    }

    async def work(client: Client) -> None:
        found = (
            await newest_events(client, query, tail)
            if since_id is None
            else await events_after(client, query, since_id)
        )
        if not follow:
            _list(found, output)
            return
        for event in found:
            show(event, output)
        last = found[-1]["id"] if found else (since_id or await _latest(client))
        async for event in followed(client, query, last):
            show(event, output)

    run(ctx, work)


async def _latest(client: Client) -> int:
    newest = await newest_events(client, {}, 1)
    return int(newest[-1]["id"]) if newest else 0


async def followed(client: Client, query: Query, last: int) -> AsyncIterator[Json]:
    """Yield events after ``last`` for ever; a lost line is taken up where it broke."""
    is_told = False
    while True:
        try:
            wanted = {**query, "after": last, "follow": True}
            async with client.lines(path_of("events"), wanted) as lines:
                async for event in lines:
                    if event["id"] <= last:
                        continue
                    last, is_told = event["id"], False
                    yield event
        except CliError as failure:
            if failure.code is not ExitCode.UNAVAILABLE or not failure.is_retryable:
                raise
            if not is_told:
                say(f"{clean(failure.message)}; going on from event {last}", is_error=True)
                is_told = True
        await asyncio.sleep(_AGAIN_S)


def _list(found: list[Json], output: Output) -> None:
    kind = kind_of("events")
    if emit(output, {"items": found}):
        return
    if output is Output.NAME:
        names(kind, found)
    else:
        show_items(kind, found, is_wide=output is Output.WIDE)


def show(event: Json, output: Output) -> None:
    """Print one event on one line; as YAML, one document."""
    match output:
        case Output.JSON:
            line = json.dumps(event, ensure_ascii=False)
            sys.stdout.write((line if is_clean(line) else json.dumps(event)) + "\n")
        case Output.YAML:
            sys.stdout.write(f"---\n{as_yaml(event)}\n")
        case Output.NAME:
            names(kind_of("events"), [event])
        case Output.TABLE | Output.WIDE:
            _line(event)
    sys.stdout.flush()


def _line(event: Json) -> None:
    moment = moment_of(event.get("occurred_at")) or datetime.now(UTC)
    severity = clean(event.get("severity", ""))
    about = clean(event.get("resource") or "")
    say(
        Text(f"{moment.astimezone():%H:%M:%S} {event.get('id', '')!s:>6}  ", style="dim")
        + Text(f"{severity:<8}", style=styled(severity).style)
        + Text(f"{clean(event.get('kind', '')):<28} ", style="bold")
        + Text(f"{about}: " if about else "", style="cyan")
        + Text(clean(event.get("message", "")))
    )
