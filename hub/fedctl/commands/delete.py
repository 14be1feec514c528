"""``delete``: federations with their participants, endpoints, sites, charts."""

from __future__ import annotations

import sys
from typing import Annotated, Final

import typer

from fedcore.terminal_text import escape
from fedctl.client import Client, Json, path_of
from fedctl.commands.apply import follow
from fedctl.commands.invocation import run
from fedctl.commands.options import DEFAULT_WAIT, OutputOption, TimeoutOption, parse_timeout
from fedctl.diff_view import print_diffs, print_summary
from fedctl.errors import CliError, ExitCode
from fedctl.lookup import address_of, get_answer
from fedctl.progress import choose_display, wait
from fedctl.render import Output, emit, print_line
from fedctl.resources import Kind, parse_reference
from fedctl.wait_status import Goal, resource_source

_DELETABLE: Final = ("federations", "endpoints", "sites", "charts")


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
    force: Annotated[
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
    kind, item_name = parse_reference([what] if name is None else [what, name])
    _check(kind, for_federations=cascade or dry_run, force=force)
    limit_s = parse_timeout(timeout)
    if force:
        run(ctx, lambda client: _force_removal(client, kind, item_name, output, may_ask=not yes))
        return

    async def work(client: Client) -> None:
        full_name = await _full_name(client, kind, item_name)
        if not dry_run and not yes:
            _confirm(f"{kind.singular}/{item_name}")
        query = {"cascade": cascade, "dry_run": dry_run} if kind.plural == "federations" else None
        reply = await client.request("DELETE", path_of(kind.plural, full_name), query=query)
        subject = f"{kind.singular}/{escape(item_name)}"
        _print_answer(subject, reply.body, output, dry_run=dry_run)
        if wait_for and not dry_run:
            await _wait_until_gone(client, kind, item_name, reply.body, limit_s)
            if output in {Output.TABLE, Output.WIDE}:
                print_line(f"{subject} is gone")

    run(ctx, work)


def _check(kind: Kind, *, for_federations: bool, force: bool) -> None:
    """Raise CliError for what cannot be deleted, or not with these options."""
    if kind.plural == "participants" and not force:
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
    if kind.plural != "participants" and force:
        raise CliError(ExitCode.USAGE, "--force is for participants")


async def _force_removal(
    client: Client, kind: Kind, name: str, output: Output, *, may_ask: bool
) -> None:
    subject = f"{kind.singular}/{escape(name)}"
    if may_ask:
        _confirm(subject)
    reply = await client.request("DELETE", address_of(kind, name), query={"force": True})
    if emit(output, reply.body):
        return
    if output is Output.NAME:
        print_line(subject)
        return
    print_line(f"{subject} removed by force: the hub has forgotten it, its site was not asked")
    for item in reply.body["items"]:
        leftovers = ", ".join(item["leftovers"])
        line = f"  at {item['site']} there may be left: {leftovers}"
        print_line(escape(line), style="yellow")


async def _full_name(client: Client, kind: Kind, name: str) -> str:
    """Return the name in the address; a chart may be given by the beginning of its digest."""
    if kind.plural != "charts":
        return name
    return kind.name_of(await get_answer(client, kind, name))


def _confirm(subject: str) -> None:
    """Ask on a terminal, and raise CliError at a no; without a terminal nobody can be asked."""
    if (
        sys.stdin.isatty()
        and sys.stdout.isatty()
        and not typer.confirm(f"Remove {escape(subject)}?")
    ):
        raise CliError(ExitCode.NOT_REACHED, "nothing was changed")


def _print_answer(subject: str, body: Json | None, output: Output, *, dry_run: bool) -> None:
    """Print what a removal did. Only that of a federation has a body, and takes time."""
    if body is not None and emit(output, body):
        return
    if output is Output.NAME:
        print_line(subject)
        return
    if output in {Output.JSON, Output.YAML}:
        return
    if body is not None and dry_run:
        print_diffs(body)
    verb = "removed" if body is None else "is being removed"
    print_line(f"{subject} {verb}" + (" (dry run)" if dry_run else ""))
    if body is not None and not dry_run:
        print_summary(body)
        if body["operation"] is not None:
            print_line(f"operation/{escape(body['operation']['id'])}", style="dim")


async def _wait_until_gone(
    client: Client, kind: Kind, name: str, body: Json | None, limit_s: float
) -> None:
    if body is not None:
        await follow(client, body, limit_s)
    elif kind.plural in {"endpoints", "sites"}:
        source = resource_source(kind, name, Goal.GONE)
        display = choose_display(client.timing)
        subject = f"{kind.singular}/{name}"
        await wait(client, source, limit_s=limit_s, display=display, subject=subject)
