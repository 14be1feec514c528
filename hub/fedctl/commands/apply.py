"""``apply``, ``diff``: from a file to the hub, or only what would change."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from fedctl.client import Client, Json, Reply, path_of
from fedctl.commands.session import (
    DEFAULT_WAIT,
    FileOption,
    OutputOption,
    TimeoutOption,
    limit_of,
    run,
)
from fedctl.diff_view import removes_something, show_diffs, show_summary, verb_of
from fedctl.errors import CliError, ExitCode, FieldError
from fedctl.manifest import MAX_BYTES, Manifest, parse
from fedctl.progress import display, wait
from fedctl.render import Output, emit, say
from fedctl.resources import kind_of
from fedctl.text import clean
from fedctl.wait_status import Goal, operation_source, resource_source

_KIND: Final = "Federation"


def apply(
    ctx: typer.Context,
    filename: FileOption,
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show every document that would change; change none.")
    ] = False,
    wait_for: Annotated[
        bool, typer.Option("--wait", help="Wait until every change has arrived, with progress.")
    ] = False,
    timeout: TimeoutOption = DEFAULT_WAIT,
    yes: Annotated[
        bool, typer.Option("-y", "--yes", help="Do not ask before something is removed.")
    ] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Create federations or change them to what a file says.

    On a terminal it asks before anything is removed, unless -y is given.
    """
    limit_s = limit_of(timeout)
    manifests = _read(filename)

    async def work(client: Client) -> None:
        if len(manifests) > 1 and not dry_run:
            for manifest in manifests:
                await put(client, manifest, dry_run=True)
        answers = []
        for manifest in manifests:
            if dry_run:
                answers.append((await put(client, manifest, dry_run=True)).body)
            else:
                answers.append(await _apply_one(client, manifest, may_ask=not yes))
            _tell(answers[-1], output, dry_run=dry_run)
        emit(output, answers[0] if len(answers) == 1 else {"items": answers})
        if wait_for and not dry_run:
            for answer in answers:
                await follow(client, answer, limit_s)
                if output in {Output.TABLE, Output.WIDE}:
                    say(f"federation/{clean(answer['federation']['name'])} is ready")

    run(ctx, work)


def diff(ctx: typer.Context, filename: FileOption, *, output: OutputOption = Output.TABLE) -> None:
    """Show every document that an apply would change, at every site; change nothing.

    Exits 0 when nothing would change, 1 when something would, above 1 on errors.
    """
    manifests = _read(filename)

    async def work(client: Client) -> bool:
        answers: list[Json] = []
        changed = False
        for manifest in manifests:
            answer = (await put(client, manifest, dry_run=True)).body
            answers.append(answer)
            changed = await _would_change(client, answer) or changed
            if output in {Output.TABLE, Output.WIDE}:
                show_diffs(answer)
        emit(output, answers[0] if len(answers) == 1 else {"items": answers})
        return changed

    if run(ctx, work):
        raise typer.Exit(ExitCode.NOT_REACHED)


async def _would_change(client: Client, answer: Json) -> bool:
    if answer["changes"] or answer["created"]:
        return True
    stored = await client.get(path_of("federations", answer["federation"]["name"]))
    return bool(stored["intent"] != answer["federation"]["intent"])


def _read(filename: Path) -> tuple[Manifest, ...]:
    """Read and check a file; raise CliError before anything is sent."""
    if str(filename) == "-":
        return _checked(parse(sys.stdin.buffer.read(MAX_BYTES + 1), "standard input"))
    try:
        with filename.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise CliError(ExitCode.USAGE, f"cannot read {filename}: {error.strerror}") from error
    return _checked(parse(content, str(filename)))


def _checked(manifests: tuple[Manifest, ...]) -> tuple[Manifest, ...]:
    names: set[str] = set()
    for manifest in manifests:
        kind, name = manifest.data.get("kind", _KIND), manifest.data.get("name")
        if kind != _KIND:
            raise _fault(manifest, "kind", f"must be {_KIND}, the one kind that files describe")
        if not isinstance(name, str) or not name:
            raise _fault(manifest, "name", "name the federation, for example `name: credit-risk`")
        if name in names:
            raise _fault(manifest, "name", f"{name} is in this file twice")
        names.add(name)
    return manifests


def _fault(manifest: Manifest, path: str, message: str) -> CliError:
    return CliError(
        ExitCode.INVALID,
        f"{manifest.source} cannot be applied",
        faults=(FieldError(f"{manifest.where(path)}: {path}", message),),
        hint="`fedctl explain federation` describes every key",
    )


async def put(
    client: Client, manifest: Manifest, *, dry_run: bool, revision: str | None = None
) -> Reply:
    """Send one document; faults come back with their places in the file.

    ``revision`` is the ETag that the change was shown for: a change in between is refused.
    """
    try:
        return await client.request(
            "PUT",
            path_of("federations", str(manifest.data["name"])),
            query={"dry_run": dry_run},
            body=manifest.data,
            headers={"If-Match": revision} if revision else None,
        )
    except CliError as failure:
        if not failure.faults:
            raise
        placed = tuple(
            FieldError(f"{manifest.where(fault.path)}: {fault.path}", fault.message)
            for fault in failure.faults
        )
        raise CliError(
            failure.code,
            f"{manifest.source} was refused; nothing was changed",
            faults=placed,
            hint=failure.hint or "`fedctl explain federation` describes every key",
        ) from failure


async def _apply_one(client: Client, manifest: Manifest, *, may_ask: bool) -> Json:
    revision = None
    if may_ask and sys.stdin.isatty() and sys.stdout.isatty():
        name = str(manifest.data["name"])
        preview: Json = (await put(client, manifest, dry_run=True)).body
        if removes_something(preview):
            revision = await _revision(client, name)
            say(f"Applying this to {clean(name)} removes something:")
            show_summary(preview)
            if not typer.confirm("Go on?"):
                raise CliError(ExitCode.NOT_REACHED, "nothing was changed")
    found: Json = (await put(client, manifest, dry_run=False, revision=revision)).body
    return found


async def _revision(client: Client, name: str) -> str | None:
    reply = await client.request("GET", path_of("federations", name))
    return reply.headers.get("ETag")


def _tell(applied: Any, output: Output, *, dry_run: bool) -> None:
    name = clean(applied["federation"]["name"])
    if output is Output.NAME:
        say(f"federation/{name}")
    if output not in {Output.TABLE, Output.WIDE}:
        return
    if dry_run:
        show_diffs(applied)
    say(f"federation/{name} {verb_of(applied)}" + (" (dry run)" if dry_run else ""))
    if not dry_run:
        show_summary(applied)
        if applied["operation"] is not None:
            say(f"operation/{clean(applied['operation']['id'])}", style="dim")


async def follow(client: Client, applied: Json, limit_s: float) -> None:
    """Wait for what an apply or a delete began; if it changed nothing, for what still goes on."""
    operation = applied.get("operation")
    name = str(applied["federation"]["name"])
    source = (
        operation_source(operation["id"])
        if operation is not None
        else resource_source(kind_of("federations"), name, Goal.READY)
    )
    await wait(client, source, limit_s=limit_s, shown=display(), subject=f"federation/{name}")
