"""The answer of an apply or a delete, for people: what changes where, and who waits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich.text import Text

from fedcore.terminal_text import escape
from fedctl.client import Json
from fedctl.render import print_line

_NO_EXCHANGE_ADDRESS: Final = "ExchangeHasNoAddress"
_LINE_STYLES: Final = {"+": "green", "-": "red", "@": "cyan"}


def print_diffs(answer: Json) -> None:
    """Print every document that changes, site by site, as a unified diff; then what follows."""
    for change in answer["changes"]:
        print_line(_headline(change), style="bold")
        for line in change["lines"]:
            print_line(Text(escape(line), style=_LINE_STYLES.get(line[:1], "")))
        print_line()
    _print_restored(answer)
    _print_waiting(answer["waiting"])
    _print_later_changes(answer)


def print_summary(answer: Json) -> None:
    """Print which documents change at which sites, without their contents."""
    for change in answer["changes"]:
        print_line(f"  {_headline(change)}")
    _print_restored(answer)
    _print_waiting(answer["waiting"])


def _headline(change: Json) -> str:
    return escape(f"{change['resource']} at {change['site']}: {change['change']}")


def _print_restored(answer: Json) -> None:
    """Print what is restored from its removal and has no new document that shows it."""
    changed = {change["resource"] for change in answer["changes"]}
    for name in answer.get("restored") or ():
        if name not in changed:
            print_line(f"  {escape(name)}: taken back from its removal")


def _print_later_changes(answer: Json) -> None:
    """Print what changes later and cannot be shown yet, because addresses are not known."""
    lines = [
        f"{waiting['participant']} gets its document when the exchange has an address"
        for waiting in answer["waiting"]
        if waiting["reason"] == _NO_EXCHANGE_ADDRESS
    ]
    lines += [
        f"{unrouted['participant']} comes into the route tables when its site reports what is "
        f"missing ({unrouted['reason']})"
        for unrouted in answer.get("unrouted") or ()
    ]
    if lines:
        print_line("more follows by itself:", style="bold")
    for line in lines:
        print_line(f"  {escape(line)}")


def _print_waiting(waiting: Sequence[Json]) -> None:
    """Print the participants that get their document later, and why."""
    for participant in waiting:
        name, reason = participant["participant"], participant["reason"]
        print_line(escape(f"{name} waits ({reason}): {participant['message']}"), style="yellow")


def removes_something(answer: Json) -> bool:
    """Return whether a change takes anything away."""
    return any(change["change"] == "removed" for change in answer["changes"])


def past_participle(answer: Json) -> str:
    """Return in one word what an apply did to the federation."""
    if answer["created"]:
        return "created"
    return "configured" if answer.get("operation") or answer["changes"] else "unchanged"
