"""The end of the run: what runs, where, and what to do with it."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from fedctl.client import Client, Json, path_of
from fedctl.lookup import all_of
from fedctl.quickstart.options import Options
from fedctl.quickstart.ports import LOOPBACK, Ports
from fedctl.quickstart.site import program
from fedctl.quickstart.state_dir import StateDir
from fedctl.render import grid, say, show_table
from fedctl.resources import kind_of
from fedctl.text import clean


async def show(client: Client, name: str) -> None:
    """Print the table of the participants with their addresses, and how the routes stand."""
    participants = await all_of(client, kind_of("participants"), {"federation": name})
    rows = [await _row(client, item) for item in participants]
    say()
    show_table(grid(("PARTICIPANT", "SITE", "PHASE", "NAMESPACE", "ADDRESSES"), rows))
    routes = await client.get(path_of("federations", name, "routes"))
    count = len(routes["routes"])
    found = sum(1 for row in routes["routes"] if row["found"])
    proven = sum(1 for row in routes["routes"] if row["proof"] == "Reachable")
    say()
    say(f"{found} of {count} routes are in the sites' tables, {proven} proven by a TLS handshake.")


async def _row(client: Client, item: Json) -> list[str]:
    detail = await client.get(path_of("participants", item["federation"], item["key"]))
    addresses = ", ".join(
        f"{one['role']} {one['ip'] or one['host']}:{one['port']}" for one in detail["addresses"]
    )
    facts = (item["name"], item["site"], item["phase"], item["namespace"], addresses)
    return [clean(fact) for fact in facts]


def how_to_look_around(options: Options, state_dir: StateDir, ports: Ports) -> None:
    """Print the addresses, the next commands, and how to stop."""
    fedctl = _short(Path(program("fedctl")))
    first = next(iter(ports.sites))
    lines = [
        "",
        f"Hub    https://{LOOPBACK}:{ports.hub}  (API: /api/v1/openapi.json)",
        f"Logs   {_short(state_dir.root / 'log')}",
        "",
        "Look around in another terminal:",
        f"  export FEDCTL_CONFIG={shlex.quote(str(state_dir.config))}",
        f"  {fedctl} get sites,participants,certificates,operations",
    ]
    if options.has_example:
        lines += [
            f"  {fedctl} routes credit-risk",
            f"  {fedctl} describe participant credit-risk/9999",
        ]
    lines += [
        f"  {fedctl} events --follow",
        f"  kubectl --kubeconfig {_short(state_dir.site(first) / 'kubeconfig')} get pods -A",
        "",
        "Ctrl-C stops everything; the next start goes on from here.",
    ]
    for line in lines:
        say(line)


def _short(path: Path) -> str:
    """Write a path relative to where the person is, if it is below."""
    relative = os.path.relpath(path)
    return shlex.quote(relative if not relative.startswith("..") else str(path))
