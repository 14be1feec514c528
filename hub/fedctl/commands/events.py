"""``events``: what has happened, and what happens."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.text import Text

from fedcore.terminal_text import escape, is_safe
from fedctl.client import Client, Json, Query, path_of
from fedctl.commands.invocation import run
from fedctl.commands.options import FederationFilter, OutputOption, ParticipantFilter, SiteFilter
from fedctl.durations import parse_time
from fedctl.errors import CliError, ExitCode
from fedctl.lookup import EVENTS_SHOWN, events_after, newest_events
from fedctl.render import Output, as_yaml, emit, print_items, print_line, print_names, styled
from fedctl.resources import kind_of


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
        past_events = (
            await newest_events(client, query, tail)
            if since_id is None
            else await events_after(client, query, since_id)
        )
        if not follow:
            _print_list(past_events, output)
            return
        for event in past_events:
            print_event(event, output)
        last_id = past_events[-1]["id"] if past_events else (since_id or await _newest_id(client))
        async for event in follow_events(client, query, last_id):
            print_event(event, output)

    run(ctx, work)


async def _newest_id(client: Client) -> int:
    newest = await newest_events(client, {}, 1)
    return int(newest[-1]["id"]) if newest else 0


async def follow_events(client: Client, query: Query, last_id: int) -> AsyncIterator[Json]:
    """Yield events after ``last_id`` for ever; a lost stream is opened again where it broke."""
    is_loss_reported = False
    while True:
        try:
            after_last = {**query, "after": last_id, "follow": True}
            async with client.lines(path_of("events"), after_last) as lines:
                async for event in lines:
                    if event["id"] <= last_id:
                        continue
                    last_id, is_loss_reported = event["id"], False
                    yield event
        except CliError as error:
            if error.code is not ExitCode.UNAVAILABLE or not error.is_retryable:
                raise
            if not is_loss_reported:
                print_line(f"{escape(error.message)}; going on from event {last_id}", is_error=True)
                is_loss_reported = True
        await asyncio.sleep(client.timing.stream_reopen_pause_s)


def _print_list(event_list: list[Json], output: Output) -> None:
    kind = kind_of("events")
    if emit(output, {"items": event_list}):
        return
    if output is Output.NAME:
        print_names(kind, event_list)
    else:
        print_items(kind, event_list, is_wide=output is Output.WIDE)


def print_event(event: Json, output: Output) -> None:
    """Print one event on one line; as YAML, one document."""
    match output:
        case Output.JSON:
            line = json.dumps(event, ensure_ascii=False)
            sys.stdout.write((line if is_safe(line) else json.dumps(event)) + "\n")
        case Output.YAML:
            sys.stdout.write(f"---\n{as_yaml(event)}\n")
        case Output.NAME:
            print_names(kind_of("events"), [event])
        case Output.TABLE | Output.WIDE:
            _print_line_of(event)
    sys.stdout.flush()


def _print_line_of(event: Json) -> None:
    moment = parse_time(event.get("occurred_at")) or datetime.now(UTC)
    severity = escape(event.get("severity", ""))
    about = escape(event.get("resource") or "")
    print_line(
        Text(f"{moment.astimezone():%H:%M:%S} {event.get('id', '')!s:>6}  ", style="dim")
        + Text(f"{severity:<8}", style=styled(severity).style)
        + Text(f"{escape(event.get('kind', '')):<28} ", style="bold")
        + Text(f"{about}: " if about else "", style="cyan")
        + Text(escape(event.get("message", "")))
    )
