"""What a later start says first: what it found, that it leaves it so, and the ways back."""

from __future__ import annotations

from collections.abc import Sequence

from fedcore.terminal_text import escape
from fedctl.quickstart.example import ExampleNote
from fedctl.quickstart.membership import Membership
from fedctl.quickstart.paths import fedctl_command, short
from fedctl.quickstart.state_dir import StateDir
from fedctl.render import print_line
from fedctl.resources import Json


def print_kept(state_dir: StateDir, note: ExampleNote, federations: Sequence[Json]) -> None:
    """Print each federation with its revision, and how to get the example again."""
    print_line("Started before: nothing is applied, every federation stays as it is.")
    for federation in federations:
        print_line(f"  federation {escape(federation['name'])}: {state_of(federation, note)}")
    names = {federation["name"] for federation in federations}
    if note.federation and note.federation not in names:
        print_line(f"  federation {escape(note.federation)} was removed and is not made again")
    elif not federations:
        print_line("  no federation is there, and none is made")
    if note.federation and not any(_is_example(federation, note) for federation in federations):
        print_line("  for the example again:")
        print_line(f"    {fedctl_command()} apply -f {short(state_dir.example)}")


def _is_example(federation: Json, note: ExampleNote) -> bool:
    """Return whether a federation is still as the first start made it."""
    is_unchanged = (federation["name"], federation["revision"]) == (note.federation, note.revision)
    return is_unchanged and not federation["removing"]


def state_of(federation: Json, note: ExampleNote) -> str:
    """Return the revision and the size of a federation, and how far it is from the example."""
    count = federation["party_count"]
    size = f"revision {federation['revision']}, {count} {'party' if count == 1 else 'parties'}"
    if federation["removing"]:
        return f"{size}, being removed and not made again"
    if federation["name"] != note.federation:
        return size
    if _is_example(federation, note):
        return f"{size}, as the example made it"
    return f"{size} (the example was revision {note.revision})" if note.revision else size


def print_left_out(membership: Membership) -> None:
    """Print which sites take no part in this start, why, and what to do about it."""
    for plan in membership.plans:
        if plan.left_out:
            print_line(f"Site {plan.name} {plan.left_out} and stays out. To join it again, run")
            print_line(f"  {plan.cure}")
            print_line("  in another terminal, and start the quickstart again.")
    if membership.foreign:
        names = ", ".join(map(escape, membership.foreign))
        print_line(f"Not of this quickstart (start their agents yourself): {names}")


def print_empty(membership: Membership, participants: Sequence[Json]) -> None:
    """Print which sites that join now have no party: the example was for those of the start."""
    used = {participant["site"] for participant in participants}
    new = [plan.name for plan in membership.plans if plan.joins and plan.name not in used]
    if new:
        print_line(f"New and without a party: {', '.join(new)}. Name them in the federation's file")
        print_line("  and apply it.")
