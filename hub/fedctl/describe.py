"""Everything about one thing, readable from top to bottom: what is wrong comes first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from rich.text import Text

from fedcore.terminal_text import escape
from fedcore.words import Severity
from fedctl.client import Client, Json
from fedctl.durations import format_age, format_remaining, parse_time
from fedctl.lookup import item_of, list_all, newest_events
from fedctl.render import build_table, print_items, print_line, print_table, styled
from fedctl.resources import Kind, kind_of

_EVENTS_SHOWN: Final = 10
_SHOWN_APART: Final = frozenset({"findings"})
_SEVERITY_STYLES: Final[dict[str, str]] = {
    Severity.ERROR: "bold red",
    Severity.WARNING: "yellow",
}


async def describe(client: Client, kind: Kind, name: str, answer: Json) -> None:
    """Print one thing, its findings first, then what belongs to it and its newest events."""
    item = item_of(kind, answer)
    print_findings(answer.get("findings") or item.get("findings") or [])
    _print_mapping(item, 0)
    if kind.detail_key is not None:
        _print_mapping({key: value for key, value in answer.items() if key != kind.detail_key}, 0)
    await _print_participants(client, kind, name)
    await _print_events(client, kind, name)


def print_findings(findings: Sequence[Json]) -> None:
    """Print named causes, each with the next act."""
    for finding in findings:
        about = f" ({finding['object']})" if finding.get("object") else ""
        style = _SEVERITY_STYLES.get(str(finding.get("severity")), "bold")
        print_line(
            Text(escape(finding.get("code", "")), style=style)
            + Text(escape(f"{about}: {finding.get('message', '')}"))
        )
        if finding.get("hint"):
            print_line(Text("  next: ", style="bold") + Text(escape(finding["hint"])))
    if findings:
        print_line()


def _print_mapping(mapping: Mapping[str, Any], depth: int) -> None:
    """Print plain values first, each on a line; then collections, each under its title."""
    indent = "  " * depth
    scalars = {key: value for key, value in mapping.items() if not _is_collection(value)}
    width = max((len(key) for key in scalars), default=0) + 2
    for key, value in scalars.items():
        if value not in (None, ""):
            label = f"{indent}{_title(key) + ':':{width}} "
            print_line(Text(label, style="dim") + styled(_scalar(value)))
    for key, value in mapping.items():
        if key in _SHOWN_APART or not _is_collection(value) or not _has_content(value):
            continue
        print_line(f"{indent}{_title(key)}:", style="bold")
        _print_collection(value, depth + 1)


def _print_collection(collection: Mapping[str, Any] | Sequence[Any], depth: int) -> None:
    if isinstance(collection, Mapping):
        _print_mapping(collection, depth)
    elif all(isinstance(item, dict) for item in collection) and _is_flat(collection):
        _print_rows(collection, "  " * depth)
    else:
        for item in collection:
            if _is_collection(item):
                print_line("  " * depth + "-")
                _print_collection(item, depth + 1)
            else:
                print_line("  " * depth + _scalar(item))


def _print_rows(items: Sequence[Json], indent: str) -> None:
    """Print mappings as the rows of a table, without the columns that are empty in all of them."""
    keys = [
        key
        for key in dict.fromkeys(key for item in items for key in item)
        if any(_cell(item.get(key)) for item in items)
    ]
    if not keys:
        return
    titles = [_heading(key) for key in keys]
    rows = [[_cell(item.get(key)) for key in keys] for item in items]
    for cells in (titles, *rows):
        cells[0] = indent + cells[0]
    print_table(build_table(titles, rows))


def _is_collection(value: object) -> bool:
    return isinstance(value, dict | list)


def _has_content(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_has_content, value.values()))
    if isinstance(value, list):
        return any(map(_has_content, value))
    return value not in (None, "")


def _is_flat(items: Sequence[Json]) -> bool:
    """Return whether every value fits into a cell: plain, or a list of plain ones."""
    return all(
        not isinstance(value, dict)
        and not (isinstance(value, list) and any(map(_is_collection, value)))
        for item in items
        for value in item.values()
    )


def _scalar(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return escape(", ".join(map(str, value)))
    if isinstance(value, str) and parse_time(value) is not None and "T" in value:
        now = datetime.now(UTC)
        age = format_age(value, now)
        distance = f"in {format_remaining(value, now)}" if age == "0s" else f"{age} ago"
        return f"{escape(value)} ({distance})"
    return escape(value)


def _cell(value: Any) -> str:
    """Write a value into a cell: a time as its distance from now."""
    moment = parse_time(value) if isinstance(value, str) and "T" in value else None
    if moment is None:
        return _scalar(value)
    now = datetime.now(UTC)
    if moment > now:
        return f"in {format_remaining(value, now)}"
    return f"{format_age(value, now)} ago"


def _heading(key: str) -> str:
    return escape(key.removesuffix("_at").replace("_", " ").upper())


def _title(key: str) -> str:
    return escape(key.replace("_", " ").capitalize())


async def _print_participants(client: Client, kind: Kind, name: str) -> None:
    if kind.plural not in {"federations", "sites"}:
        return
    participants = kind_of("participants")
    items = await list_all(client, participants, {kind.singular: name})
    if items:
        print_line()
        print_items(participants, items, is_wide=False, title=True)


async def _print_events(client: Client, kind: Kind, name: str) -> None:
    events = kind_of("events")
    if kind.plural == "endpoints":
        query = {"site": name}  # an endpoint is called by its site
    elif kind.singular in events.filters:
        query = {kind.singular: name}
    else:
        return
    items = await newest_events(client, query, _EVENTS_SHOWN)
    if items:
        print_line()
        print_items(events, items, is_wide=False, title=True)
