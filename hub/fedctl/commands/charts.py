"""``chart upload``, ``chart list``: archives that the hub hands to agents by their digest."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

from fedcore.limits import MAX_CHART_BYTES
from fedcore.terminal_text import escape
from fedctl.client import path_of
from fedctl.commands.get import get
from fedctl.commands.invocation import run
from fedctl.commands.options import OutputOption
from fedctl.errors import CliError, ExitCode
from fedctl.render import Output, emit, print_line

_GZIP_MAGIC: Final = b"\x1f\x8b"

app = typer.Typer(help="Upload and list Helm chart archives.", no_args_is_help=True)


@app.command("upload")
def upload(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="Chart archive (.tgz) of a release.")],
    *,
    output: OutputOption = Output.TABLE,
) -> None:
    """Upload a chart archive; its digest must be the one that the catalogue knows."""
    archive = _read(file)
    path = path_of("charts")
    chart = run(ctx, lambda client: client.request("POST", path, body=archive)).body
    if not emit(output, chart):
        print_line(
            f"chart/{escape(chart['sha256'])} uploaded: "
            f"{escape(chart['name'])} {escape(chart['version'])}"
        )


@app.command("list")
def list_charts(ctx: typer.Context, *, output: OutputOption = Output.TABLE) -> None:
    """List the chart archives that the hub has; the same as `get charts`."""
    get(ctx, "charts", output=output)


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            archive = stream.read(MAX_CHART_BYTES + 1)
    except OSError as error:
        raise CliError(ExitCode.USAGE, f"cannot read {file}: {error.strerror}") from error
    if len(archive) > MAX_CHART_BYTES:
        raise CliError(ExitCode.INVALID, f"{file} is larger than {MAX_CHART_BYTES} bytes")
    if not archive.startswith(_GZIP_MAGIC):
        raise CliError(
            ExitCode.INVALID, f"{file} is no gzip archive", hint="`helm package` makes one"
        )
    return archive
