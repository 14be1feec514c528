"""``delete``: federations with their participants, endpoints, sites, charts."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from fedctl.client import Client, Json, path_of
from fedctl.commands.apply import follow
from fedctl.commands.session import DEFAULT_WAIT, OutputOption, TimeoutOption, limit_of, run
from fedctl.diff_view import show_diffs, show_summary
from fedctl.errors import CliError, ExitCode
from fedctl.lookup import address_of, one
from fedctl.progress import display, wait
from fedctl.render import Output, emit, say
from fedctl.resources import Kind, reference
from fedctl.text import clean
from fedctl.wait_status import Goal, resource_source

_DELETABLE = ("federations", "endpoints", "sites", "charts")


def delete(  # noqa: PLR0913 - one parameter per option
    ctx: typer.Context,
    what: Annotated[str, typer.Argument(help="KIND or KIND/NAME.")],
    name: Annotated[str | None, typer.Argument(help="Its name.")] = None,
    *,
    cascade: Annotated[
        bool, typer.Option("--cascade", help="Of a federation: every participant goes, too.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would go; change nothing.")
    ] = False,
    abandon: Annotated[
        bool,
        typer.Option(
            "--force",
            help="Of a participant that is being removed at a site that never comes back: forget "
            "it, and say what may be left there.",
        ),
    ] = False,
    wait_for: Annotated[bool, typer.Option("--wait", help="Wait until it is gone.")] = False,
    timeout: TimeoutOption = DEFAULT_WAIT,
    yes: Annotated[bool, typer.Option("-y", "--yes", help="Do not ask.")] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Remove a federation, the KubeFATE of a site (endpoint), a site that runs nothing, a chart."""
    kind, item_name = reference([what] if name is None else [what, name])
    _check(kind, for_federations=cascade or dry_run, abandon=abandon)
    limit_s = limit_of(timeout)
    if abandon:
        run(ctx, lambda client: _abandon(client, kind, item_name, output, may_ask=not yes))
        return

    async def work(client: Client) -> None:
        target = await _target(client, kind, item_name)
        if not dry_run and not yes:
            _ask(f"{kind.singular}/{item_name}")
        query = {"cascade": cascade, "dry_run": dry_run} if kind.plural == "federations" else None
        reply = await client.request("DELETE", path_of(kind.plural, target), query=query)
        _tell(f"{kind.singular}/{clean(item_name)}", reply.body, output, dry_run=dry_run)
        if wait_for and not dry_run:
            await _wait(client, kind, item_name, reply.body, limit_s)
            if output in {Output.TABLE, Output.WIDE}:
                say(f"{kind.singular}/{clean(item_name)} is gone")

    run(ctx, work)


def _check(kind: Kind, *, for_federations: bool, abandon: bool) -> None:
    """Raise CliError for what cannot be deleted, or not with these options."""
    if kind.plural == "participants" and not abandon:
        raise CliError(
            ExitCode.USAGE,
            "a participant cannot be deleted by itself",
            hint="participants leave when the file that is applied no longer has them; --force "
            "is for one whose site never comes back",
        )
    if kind.plural not in (*_DELETABLE, "participants"):
        raise CliError(
            ExitCode.USAGE,
            f"a {kind.singular} cannot be deleted",
            hint=f"these can be: {', '.join(_DELETABLE)}",
        )
    if kind.plural != "federations" and for_federations:
        raise CliError(ExitCode.USAGE, "--cascade and --dry-run are for federations")
    if kind.plural != "participants" and abandon:
        raise CliError(ExitCode.USAGE, "--abandon is for participants")


async def _abandon(client: Client, kind: Kind, name: str, output: Output, *, may_ask: bool) -> None:
    subject = f"{kind.singular}/{clean(name)}"
    if may_ask:
        _ask(subject)
    path = address_of(kind, name)
    body = (await client.request("DELETE", path, query={"force": True})).body
    if emit(output, body):
        return
    if output is Output.NAME:
        say(subject)
        return
    say(f"{subject} abandoned: the hub has forgotten it, nothing was done at its site")
    for item in body["items"]:
        left = ", ".join(item["leftovers"])
        say(clean(f"  at {item['site']} there may be left: {left}"), style="yellow")


async def _target(client: Client, kind: Kind, name: str) -> str:
    """Return the name in the address; a chart may be given by the beginning of its digest."""
    return kind.name_of(await one(client, kind, name)) if kind.plural == "charts" else name


def _ask(subject: str) -> None:
    if (
        sys.stdin.isatty()
        and sys.stdout.isatty()
        and not typer.confirm(f"Remove {clean(subject)}?")
    ):
        raise CliError(ExitCode.NOT_REACHED, "nothing was changed")


def _tell(subject: str, body: Json | None, output: Output, *, dry_run: bool) -> None:
    if body is not None and emit(output, body):
        return
    if output is Output.NAME:
        say(subject)
        return
    if output in {Output.JSON, Output.YAML}:
        return
    if body is not None and dry_run:
        show_diffs(body)
    is_long = body is not None
    say(f"{subject} " + ("is being removed" if is_long else "removed") + " (dry run)" * dry_run)
    if body is not None and not dry_run:
        show_summary(body)
        if body["operation"] is not None:
            say(f"operation/{clean(body['operation']['id'])}", style="dim")


async def _wait(client: Client, kind: Kind, name: str, body: Json | None, limit_s: float) -> None:
    if body is not None:
        await follow(client, body, limit_s)
    elif kind.plural in {"endpoints", "sites"}:
        source = resource_source(kind, name, Goal.GONE)
        subject = f"{kind.singular}/{name}"
        await wait(client, source, limit_s=limit_s, shown=display(), subject=subject)
