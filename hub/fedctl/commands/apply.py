"""``apply``, ``diff``: from a file to the hub, or only what would change."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from fedcore.errors import FieldError
from fedcore.terminal_text import escape
from fedcore.yaml_reader import MAX_BYTES
from fedctl.client import Client, Json, Reply, path_of
from fedctl.commands.invocation import run
from fedctl.commands.options import (
    DEFAULT_WAIT,
    FileOption,
    OutputOption,
    TimeoutOption,
    parse_timeout,
)
from fedctl.diff_view import past_participle, print_diffs, print_summary, removes_something
from fedctl.errors import CliError, ExitCode
from fedctl.manifest import Manifest, parse
from fedctl.progress import choose_display, wait
from fedctl.render import Output, emit, print_line
from fedctl.resources import kind_of
from fedctl.wait_status import Goal, operation_source, resource_source

_KIND: Final = "Federation"
_EXPLAIN_HINT: Final = "`fedctl explain federation` describes every key"


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
    limit_s = parse_timeout(timeout)
    manifests = _read(filename)

    async def work(client: Client) -> None:
        if len(manifests) > 1 and not dry_run:
            # A file with an error in its second federation changes nothing of the first.
            for manifest in manifests:
                await put(client, manifest, dry_run=True)
        answers = []
        for manifest in manifests:
            if dry_run:
                answers.append((await put(client, manifest, dry_run=True)).body)
            else:
                answers.append(await _apply_one(client, manifest, may_ask=not yes))
            _print_answer(answers[-1], output, dry_run=dry_run)
        emit(output, answers[0] if len(answers) == 1 else {"items": answers})
        if wait_for and not dry_run:
            for answer in answers:
                await follow(client, answer, limit_s)
                if output in {Output.TABLE, Output.WIDE}:
                    print_line(f"federation/{escape(answer['federation']['name'])} is ready")

    run(ctx, work)


def diff(ctx: typer.Context, filename: FileOption, *, output: OutputOption = Output.TABLE) -> None:
    """Show every document that an apply would change, at every site; change nothing.

    Exits 0 when nothing would change, 1 when something would, above 1 on errors.
    """
    manifests = _read(filename)

    async def work(client: Client) -> bool:
        answers: list[Json] = []
        is_changed = False
        for manifest in manifests:
            answer = (await put(client, manifest, dry_run=True)).body
            answers.append(answer)
            is_changed = await _would_change(client, answer) or is_changed
            if output in {Output.TABLE, Output.WIDE}:
                print_diffs(answer)
        emit(output, answers[0] if len(answers) == 1 else {"items": answers})
        return is_changed

    if run(ctx, work):
        raise typer.Exit(ExitCode.NOT_REACHED)


async def _would_change(client: Client, answer: Json) -> bool:
    """Return whether an apply would change a document, or the intent alone."""
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
            raise _error(manifest, "kind", f"must be {_KIND}, the one kind that files describe")
        if not isinstance(name, str) or not name:
            raise _error(manifest, "name", "name the federation, for example `name: credit-risk`")
        if name in names:
            raise _error(manifest, "name", f"{name} is in this file twice")
        names.add(name)
    return manifests


def _error(manifest: Manifest, path: str, message: str) -> CliError:
    return CliError(
        ExitCode.INVALID,
        f"{manifest.source} cannot be applied",
        errors=(FieldError(f"{manifest.where(path)}: {path}", message),),
        hint=_EXPLAIN_HINT,
    )


async def put(
    client: Client, manifest: Manifest, *, dry_run: bool, revision: str | None = None
) -> Reply:
    """Send one document; errors come back with their positions in the file.

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
    except CliError as error:
        if not error.errors:
            raise
        raise CliError(
            error.code,
            f"{manifest.source} was refused; nothing was changed",
            errors=tuple(
                FieldError(f"{manifest.where(field.path)}: {field.path}", field.message)
                for field in error.errors
            ),
            hint=error.hint or _EXPLAIN_HINT,
        ) from error


async def _apply_one(client: Client, manifest: Manifest, *, may_ask: bool) -> Json:
    revision = None
    if may_ask and sys.stdin.isatty() and sys.stdout.isatty():
        name = str(manifest.data["name"])
        preview: Json = (await put(client, manifest, dry_run=True)).body
        if removes_something(preview):
            revision = await _revision(client, name)
            print_line(f"Applying this to {escape(name)} removes something:")
            print_summary(preview)
            if not typer.confirm("Go on?"):
                raise CliError(ExitCode.NOT_REACHED, "nothing was changed")
    answer: Json = (await put(client, manifest, dry_run=False, revision=revision)).body
    return answer


async def _revision(client: Client, name: str) -> str | None:
    reply = await client.request("GET", path_of("federations", name))
    return reply.headers.get("ETag")


def _print_answer(answer: Json, output: Output, *, dry_run: bool) -> None:
    name = escape(answer["federation"]["name"])
    if output is Output.NAME:
        print_line(f"federation/{name}")
    if output not in {Output.TABLE, Output.WIDE}:
        return
    if dry_run:
        print_diffs(answer)
    print_line(f"federation/{name} {past_participle(answer)}" + (" (dry run)" if dry_run else ""))
    if not dry_run:
        print_summary(answer)
        if answer["operation"] is not None:
            print_line(f"operation/{escape(answer['operation']['id'])}", style="dim")


async def follow(client: Client, answer: Json, limit_s: float) -> None:
    """Wait for what an apply or a delete began; if it changed nothing, for what still goes on."""
    operation = answer.get("operation")
    name = str(answer["federation"]["name"])
    source = (
        operation_source(operation["id"])
        if operation is not None
        else resource_source(kind_of("federations"), name, Goal.READY)
    )
    display = choose_display(client.timing)
    await wait(client, source, limit_s=limit_s, display=display, subject=f"federation/{name}")
