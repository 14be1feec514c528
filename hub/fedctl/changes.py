"""The answer of an apply or a delete, for people: what changes where, and who waits."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from fedctl.client import Json
from fedctl.render import say
from fedctl.text import clean

_STYLES = {"+": "green", "-": "red", "@": "cyan"}


def show_diffs(changes: Sequence[Json], waiting: Sequence[Json]) -> None:
    """Print every document that changes, site by site, as a unified diff."""
    for change in changes:
        say(_headline(change), style="bold")
        for line in change["lines"]:
            say(Text(clean(line), style=_STYLES.get(line[:1], "")))
        say()
    show_waiting(waiting)


def _headline(change: Json) -> str:
    return clean(f"{change['resource']} at {change['site']}: {change['change']}")


def show_summary(applied: Json) -> None:
    """Print which documents change at which sites, without their contents."""
    for change in applied["changes"]:
        say(f"  {_headline(change)}")
    show_waiting(applied["waiting"])


def show_waiting(waiting: Sequence[Json]) -> None:
    """Print the participants that get their document later, and why."""
    for one in waiting:
        text = f"{one['participant']} waits ({one['reason']}): {one['message']}"
        say(clean(text), style="yellow")


def removes_something(applied: Json) -> bool:
    """Tell whether a change takes anything away."""
    return any(change["change"] == "removed" for change in applied["changes"])


def verb_of(applied: Json) -> str:
    """Say in one word what an apply did to the federation."""
    if applied["created"]:
        return "created"
    return "configured" if applied.get("operation") or applied["changes"] else "unchanged"
