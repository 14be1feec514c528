"""Everything about one thing, readable from top to bottom: what is wrong first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from rich.text import Text

from fedctl.client import Client, Json
from fedctl.lookup import all_of, newest_events, plain
from fedctl.render import grid, say, show_items, show_table, styled
from fedctl.resources import Kind, kind_of
from fedctl.text import ago, clean, moment_of, until

_EVENTS: Final = 10
_ASIDE: Final = frozenset({"findings"})
_SEVERITIES: Final = {"error": "bold red", "warning": "yellow"}


async def describe(client: Client, kind: Kind, name: str, found: Json) -> None:
    """Print one thing, its findings first, then what belongs to it and its newest events."""
    item = plain(kind, found)
    beside = {key: value for key, value in found.items() if key != kind.detail_key}
    show_findings(found.get("findings") or item.get("findings") or [])
    _pairs(item, 0)
    if kind.detail_key is not None:
        _pairs(beside, 0)
    await _belongings(client, kind, name)
    await _events(client, kind, name)


def show_findings(findings: Sequence[Json]) -> None:
    """Print named causes with the next act."""
    for one in findings:
        about = f" ({one['object']})" if one.get("object") else ""
        style = _SEVERITIES.get(str(one.get("severity")), "bold")
        say(
            Text(clean(one.get("code", "")), style=style)
            + Text(clean(f"{about}: {one.get('message', '')}"))
        )
        if one.get("hint"):
            say(Text("  next: ", style="bold") + Text(clean(one["hint"])))
    if findings:
        say()


def _pairs(value: Mapping[str, Any], depth: int) -> None:
    indent = "  " * depth
    scalars = {key: one for key, one in value.items() if not isinstance(one, dict | list)}
    width = max((len(key) for key in scalars), default=0) + 2
    for key, one in scalars.items():
        if one not in (None, ""):
            label = f"{indent}{_title(key) + ':':{width}} "
            say(Text(label, style="dim") + styled(_scalar(one)))
    for key, one in value.items():
        if key in _ASIDE or not isinstance(one, dict | list) or not _has_content(one):
            continue
        say(f"{indent}{_title(key)}:", style="bold")
        _below(one, depth + 1)


def _below(value: Mapping[str, Any] | Sequence[Any], depth: int) -> None:
    if isinstance(value, Mapping):
        _pairs(value, depth)
    elif value and all(isinstance(one, dict) for one in value) and _is_flat(value):
        titles = list(dict.fromkeys(key for one in value for key in one))
        rows = [[_short(one.get(title)) for title in titles] for one in value]
        filled = [i for i in range(len(titles)) if any(row[i] for row in rows)]
        show_table(
            grid(
                [
                    "  " * depth + _heading(titles[filled[0]]),
                    *(_heading(titles[i]) for i in filled[1:]),
                ]
                if filled
                else [],
                [
                    ["  " * depth + row[filled[0]], *(row[i] for i in filled[1:])]
                    for row in rows
                    if filled
                ],
            )
        )
    else:
        for one in value:
            if isinstance(one, dict | list):
                say("  " * depth + "-")
                _below(one, depth + 1)
            else:
                say("  " * depth + _scalar(one))


def _has_content(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_has_content, value.values()))
    if isinstance(value, list):
        return any(map(_has_content, value))
    return value not in (None, "")


def _is_flat(items: Sequence[Json]) -> bool:
    return all(
        not isinstance(one, dict) and not (isinstance(one, list) and any(map(_is_deep, one)))
        for item in items
        for one in item.values()
    )


def _is_deep(value: object) -> bool:
    return isinstance(value, dict | list)


def _scalar(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return clean(", ".join(str(one) for one in value))
    if isinstance(value, str) and moment_of(value) is not None and "T" in value:
        now = datetime.now(UTC)
        age = ago(value, now)
        return f"{clean(value)} ({f'in {until(value, now)}' if age == '0s' else f'{age} ago'})"
    return clean(value)


def _heading(key: str) -> str:
    return clean(key.removesuffix("_at").replace("_", " ").upper())


def _short(value: Any) -> str:
    """Write a cell of a table: a time as its distance from now."""
    moment = moment_of(value) if isinstance(value, str) and "T" in value else None
    if moment is None:
        return _scalar(value)
    now = datetime.now(UTC)
    return f"in {until(value, now)}" if moment > now else f"{ago(value, now)} ago"


def _title(key: str) -> str:
    return clean(key.replace("_", " ").capitalize())


async def _belongings(client: Client, kind: Kind, name: str) -> None:
    if kind.plural not in {"federations", "sites"}:
        return
    participants = kind_of("participants")
    items = await all_of(client, participants, {kind.singular: name})
    if items:
        say()
        show_items(participants, items, is_wide=False, title=True)


async def _events(client: Client, kind: Kind, name: str) -> None:
    events = kind_of("events")
    if kind.plural == "endpoints":
        query = {"site": name}
    elif kind.singular in events.filters:
        query = {kind.singular: name}
    else:
        return
    items = await newest_events(client, query, _EVENTS)
    if items:
        say()
        show_items(events, items, is_wide=False, title=True)
