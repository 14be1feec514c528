"""Output for people and programs: tables, JSON, YAML, names, without unsafe characters."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final, TextIO

import yaml
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fedcore.terminal_text import escape, is_safe
from fedctl.errors import CliError
from fedctl.resources import Json, Kind

WORD_STYLES: Final[dict[str, str]] = {
    "Ready": "green",
    "Online": "green",
    "Succeeded": "green",
    "valid": "green",
    "Reachable": "green",
    "Gone": "dim",
    "superseded": "dim",
    "Superseded": "dim",
    "Failed": "bold red",
    "Refused": "bold red",
    "Revoked": "bold red",
    "revoked": "bold red",
    "expired": "bold red",
    "error": "bold red",
    "NotServed": "bold red",
    "Degraded": "yellow",
    "Stalled": "yellow",
    "Disconnected": "yellow",
    "Offline": "yellow",
    "Unknown": "yellow",
    "AwaitingApproval": "yellow",
    "PartyDown": "yellow",
    "warning": "yellow",
}
_PIPE_WIDTH: Final = 10_000
"""Of tables that go to a file or a pipe, where nothing must be cut or folded."""


class Output(StrEnum):
    """Forms of output."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"
    NAME = "name"


def prepare_streams() -> None:
    """Write each line at once, and escapes for what the terminal's encoding lacks.

    A pipe would otherwise get a follower's lines by the block, and a foreign character would fail.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace", line_buffering=True)


def console(*, is_error: bool = False) -> Console:
    """Make a console that takes no markup and folds nothing when it is no terminal."""
    stream = sys.stderr if is_error else sys.stdout
    width = _terminal_width(stream) if stream.isatty() else _PIPE_WIDTH
    return Console(file=stream, markup=False, emoji=False, highlight=False, width=width)


def _terminal_width(stream: TextIO) -> int | None:
    """Return the width that the system knows; rich takes every dumb terminal for 80 columns.

    None leaves it to rich, which also takes COLUMNS.
    """
    if os.environ.get("COLUMNS", "").isdigit():
        return None
    try:
        return os.get_terminal_size(stream.fileno()).columns or None
    except OSError:
        return None


def print_line(text: str | Text = "", *, style: str = "", is_error: bool = False) -> None:
    """Print one line as it is, however long: people copy from it."""
    line = text if isinstance(text, Text) else Text(text, style=style)
    console(is_error=is_error).print(line, soft_wrap=True)


def print_table(table: Table) -> None:
    """Print a table, without blanks at the ends of lines where a program may read it."""
    out = console()
    if out.is_terminal:
        out.print(table)
        return
    with out.capture() as captured:
        out.print(table)
    sys.stdout.write("".join(f"{line.rstrip()}\n" for line in captured.get().splitlines()))


def styled(text: str) -> Text:
    """Return text in the colour that its first word has everywhere."""
    return Text(text, style=WORD_STYLES.get(text.partition(" ")[0], ""))


def as_json(value: Any) -> str:
    """Write JSON for people and programs; unsafe characters become escapes."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return text if is_safe(text) else json.dumps(value, indent=2)


def as_yaml(value: Any) -> str:
    """Write YAML; unsafe characters become escapes."""
    text = yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=100)
    if not is_safe(text):
        text = yaml.safe_dump(value, sort_keys=False, width=100)
    return text.rstrip("\n")


def emit(output: Output, value: Any) -> bool:
    """Print ``value`` if ``output`` is JSON or YAML; return whether it did."""
    if output is Output.JSON:
        sys.stdout.write(as_json(value) + "\n")
    elif output is Output.YAML:
        sys.stdout.write(as_yaml(value) + "\n")
    else:
        return False
    return True


def print_names(kind: Kind, items: Iterable[Json]) -> None:
    """Print ``kind/name`` lines, as ``-o name`` wants them."""
    for item in items:
        sys.stdout.write(f"{kind.singular}/{escape(kind.name_of(item))}\n")


def build_table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """Build a table in kubectl's manner: no lines, two blanks between columns."""
    table = Table(box=None, pad_edge=False, show_edge=False, padding=(0, 2, 0, 0), header_style="")
    for title in titles:
        table.add_column(title, overflow="fold")
    for row in rows:
        table.add_row(*(styled(cell) for cell in row))
    return table


def print_items(kind: Kind, items: Sequence[Json], *, is_wide: bool, title: bool = False) -> None:
    """Print the table of one kind; an empty one says so on stderr."""
    if not items:
        print_line(f"No {kind.plural} found.", is_error=True)
        return
    now = datetime.now(UTC)
    columns = [column for column in kind.columns if is_wide or not column.is_wide]
    rows = [[column.cell(item, now) for column in columns] for item in items]
    # A column without a title holds flags; it is left out where no row has one.
    shown = [
        index
        for index, column in enumerate(columns)
        if column.title or any(row[index] for row in rows)
    ]
    if title:
        print_line(kind.plural.upper(), style="bold")
    titles = [columns[index].title for index in shown]
    print_table(build_table(titles, [[row[index] for index in shown] for row in rows]))


def print_error(error: CliError) -> None:
    """Print what happened, every single error, and the next act to stderr."""
    print_line(
        Text("error: ", style="bold red") + Text(escape(error.message), style="none"),
        is_error=True,
    )
    for field_error in error.errors:
        path = f"{escape(field_error.path)}: " if field_error.path else ""
        line = Text(f"  {path}", style="bold") + Text(escape(field_error.message))
        print_line(line, is_error=True)
    if error.hint:
        print_line(Text("next: ", style="bold") + Text(escape(error.hint)), is_error=True)
