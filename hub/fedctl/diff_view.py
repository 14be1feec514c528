"""The answer of an apply or a delete, for people: what changes where, and who waits."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from fedctl.client import Json
from fedctl.render import say
from fedctl.text import clean

_NO_EXCHANGE = "ExchangeHasNoAddress"
_STYLES = {"+": "green", "-": "red", "@": "cyan"}


def show_diffs(applied: Json) -> None:
    """Print every document that changes, site by site, as a unified diff; then what follows."""
    for change in applied["changes"]:
        say(_headline(change), style="bold")
        for line in change["lines"]:
            say(Text(clean(line), style=_STYLES.get(line[:1], "")))
        say()
    _show_taken_back(applied)
    _show_waiting(applied["waiting"])
    _show_following(applied)


def _headline(change: Json) -> str:
    return clean(f"{change['resource']} at {change['site']}: {change['change']}")


def show_summary(applied: Json) -> None:
    """Print which documents change at which sites, without their contents."""
    for change in applied["changes"]:
        say(f"  {_headline(change)}")
    _show_taken_back(applied)
    _show_waiting(applied["waiting"])


def _show_taken_back(applied: Json) -> None:
    """Print what stays after all and has no new document that says so."""
    shown = {change["resource"] for change in applied["changes"]}
    for name in applied.get("restored") or ():
        if name not in shown:
            say(f"  {clean(name)}: taken back from its removal")


def _show_following(applied: Json) -> None:
    """Print what changes later and cannot be shown yet, because addresses are not known."""
    lines = [
        f"{one['participant']} gets its document when the exchange has an address"
        for one in applied["waiting"]
        if one["reason"] == _NO_EXCHANGE
    ]
    lines += [
        f"{one['participant']} comes into the route tables when its site reports what is missing "
        f"({one['reason']})"
        for one in applied.get("unrouted") or ()
    ]
    if lines:
        say("more follows by itself:", style="bold")
    for line in lines:
        say(f"  {clean(line)}")


def _show_waiting(waiting: Sequence[Json]) -> None:
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
