"""``get``, ``describe``, ``certificates``, ``routes``: read what is there."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer
from rich.text import Text

from fedcore.terminal_text import escape
from fedcore.words import TableKind
from fedctl.client import Client, Json, Query, path_of
from fedctl.commands.invocation import run
from fedctl.commands.options import FederationFilter, OutputOption, ParticipantFilter, SiteFilter
from fedctl.describe import describe
from fedctl.durations import parse_duration
from fedctl.errors import CliError, ExitCode
from fedctl.lookup import get_answer, item_of, list_all
from fedctl.render import (
    Output,
    build_table,
    emit,
    print_items,
    print_line,
    print_names,
    print_table,
)
from fedctl.resources import Kind, kind_of, parse_reference


def get(  # noqa: PLR0913 - one parameter per option
    ctx: typer.Context,
    what: Annotated[str, typer.Argument(help="KIND, KIND,KIND,... or KIND/NAME.")],
    name: Annotated[str | None, typer.Argument(help="Name of one of that kind.")] = None,
    *,
    federation: FederationFilter = None,
    site: SiteFilter = None,
    participant: ParticipantFilter = None,
    phase: Annotated[str | None, typer.Option(help="Only participants in this phase.")] = None,
    state: Annotated[
        str | None, typer.Option(help="Only sites or operations in this state.")
    ] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """List things of one kind or of several, or get one by its name.

    Kinds: sites, endpoints, federations, participants, operations, certificates, events, charts,
    releases; singular and short names work, too.
    """
    filters = {
        "federation": federation,
        "site": site,
        "participant": participant,
        "phase": phase,
        "state": state,
    }
    query = {key: value for key, value in filters.items() if value is not None}
    if name is not None or "/" in what:
        kind, item_name = parse_reference([what] if name is None else [what, name])
        _refuse_filters([kind], query, is_single=True)
        run(ctx, lambda client: _get_one(client, kind, item_name, output))
        return
    kinds = list(dict.fromkeys(kind_of(word) for word in what.split(",")))
    _refuse_filters(kinds, query, is_single=False)
    run(ctx, lambda client: _list(client, kinds, query, output))


def _refuse_filters(kinds: Sequence[Kind], query: Query, *, is_single: bool) -> None:
    for key in query:
        if is_single or not any(key in kind.filters for kind in kinds):
            what = "one thing" if is_single else ", ".join(kind.plural for kind in kinds)
            raise CliError(ExitCode.USAGE, f"--{key.replace('_', '-')} does not apply to {what}")


async def _get_one(client: Client, kind: Kind, name: str, output: Output) -> None:
    answer = await get_answer(client, kind, name)
    if not emit(output, answer):
        _print(kind, [item_of(kind, answer)], output)


async def _list(client: Client, kinds: Sequence[Kind], query: Query, output: Output) -> None:
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(
                list_all(client, kind, {k: v for k, v in query.items() if k in kind.filters})
            )
            for kind in kinds
        ]
    lists = [task.result() for task in tasks]
    body = (
        {"items": lists[0]}
        if len(kinds) == 1
        else {kind.plural: items for kind, items in zip(kinds, lists, strict=True)}
    )
    if emit(output, body):
        return
    for index, (kind, items) in enumerate(zip(kinds, lists, strict=True)):
        if index and output is not Output.NAME:
            print_line()
        _print(kind, items, output, title=len(kinds) > 1)


def _print(kind: Kind, items: list[Json], output: Output, *, title: bool = False) -> None:
    if output is Output.NAME:
        print_names(kind, items)
    else:
        print_items(kind, items, is_wide=output is Output.WIDE, title=title)


def describe_command(
    ctx: typer.Context,
    what: Annotated[str, typer.Argument(help="KIND or KIND/NAME.")],
    name: Annotated[str | None, typer.Argument(help="Its name.")] = None,
    *,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show everything about one thing: findings with the next act, steps, addresses, events."""
    kind, item_name = parse_reference([what] if name is None else [what, name])

    async def work(client: Client) -> None:
        answer = await get_answer(client, kind, item_name)
        if not emit(output, answer):
            await describe(client, kind, item_name, answer)

    run(ctx, work)


def certificates(
    ctx: typer.Context,
    *,
    site: SiteFilter = None,
    participant: ParticipantFilter = None,
    expiring_within: Annotated[
        str | None, typer.Option("--expiring-within", help="Only those that end within: 30d, 12h.")
    ] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """List the certificates that the CA issued, newest first."""
    query: dict[str, str | int | bool | None] = {"site": site, "participant": participant}
    if expiring_within is not None:
        seconds = parse_duration(expiring_within, "--expiring-within")
        query["expiring_before"] = (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()
    run(ctx, lambda client: _list(client, [kind_of("certificates")], query, output))


def routes(
    ctx: typer.Context,
    federation: Annotated[str, typer.Argument(help="Name of the federation.")],
    *,
    probe: Annotated[
        bool, typer.Option("--probe", help="First try every route of the exchange, now.")
    ] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show every route table: as the hub computed it, as the site has it, and whether it works."""
    name = federation.removeprefix("federation/")

    async def work(client: Client) -> None:
        probes = await _probe(client, name) if probe else {}
        answer = await client.get(path_of("federations", name, "routes"))
        for route in answer["routes"]:
            fresh = (
                probes.get(str(route["key"]).lower()) if route["table"] == TableKind.SNI else None
            )
            if fresh is not None:
                route["probe"], route["probe_message"] = fresh["state"], fresh["message"]
        if not emit(output, answer):
            _print_routes(answer)

    run(ctx, work)


async def _probe(client: Client, federation: str) -> dict[str, Json]:
    """Let the exchange's site try its routes, and return the outcomes by the routes' keys."""
    path = path_of("participants", federation, "exchange", "probes")
    reply = await client.request("POST", path)
    return {str(probe["key"]).lower(): probe for probe in reply.body["probes"]}


def _print_routes(answer: Json) -> None:
    rows = [
        [
            escape(route["participant"]),
            escape(route["site"]),
            escape(route["table"]),
            escape(route["key"]),
            escape(f"{route['host']}:{route['port']}"),
            "yes" if route["deployed"] else "no",
            escape(route["probe"]),
            escape(route["probe_message"]),
        ]
        for route in answer["routes"]
    ]
    if rows:
        titles = ("PARTICIPANT", "SITE", "TABLE", "KEY", "TO", "AT SITE", "PROBE", "")
        print_table(build_table(titles, rows))
    else:
        print_line("No routes yet.", is_error=True)
    for unrouted in answer["unrouted"]:
        print_line(
            Text("unrouted: ", style="yellow")
            + Text(escape(f"{unrouted['participant']}: {unrouted['reason']}"))
        )
