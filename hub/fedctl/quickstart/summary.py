"""What the quickstart prints at its end: what runs, where, and what to do with it."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from fedcore.terminal_text import escape
from fedcore.words import ProbeState
from fedctl.client import Client, Json, path_of
from fedctl.lookup import list_all
from fedctl.quickstart.ports import LOOPBACK, Ports
from fedctl.quickstart.site import program
from fedctl.quickstart.state_dir import StateDir
from fedctl.render import build_table, print_line, print_table
from fedctl.resources import kind_of


async def print_federation(client: Client, federation: str) -> None:
    """Print the participants with their addresses, and how many routes work."""
    participants = await list_all(client, kind_of("participants"), {"federation": federation})
    rows = [await _row(client, participant) for participant in participants]
    print_line()
    print_table(build_table(("PARTICIPANT", "SITE", "PHASE", "NAMESPACE", "ADDRESSES"), rows))
    routes = (await client.get(path_of("federations", federation, "routes")))["routes"]
    deployed = sum(1 for route in routes if route["deployed"])
    reachable = sum(1 for route in routes if route["probe"] == ProbeState.REACHABLE)
    print_line()
    print_line(
        f"{deployed} of {len(routes)} routes are in the sites' tables, {reachable} probed with a "
        "TLS handshake and reachable."
    )


async def _row(client: Client, participant: Json) -> list[str]:
    path = path_of("participants", participant["federation"], participant["key"])
    detail = await client.get(path)
    addresses = ", ".join(
        f"{address['role']} {address['ip'] or address['host']}:{address['port']}"
        for address in detail["addresses"]
    )
    cells = [participant[key] for key in ("name", "site", "phase", "namespace")]
    return [escape(cell) for cell in (*cells, addresses)]


def print_next_steps(state_dir: StateDir, ports: Ports, federation: str) -> None:
    """Print the addresses, the next commands, and how to stop.

    ``federation`` is the name of the one that was applied, empty for none.
    """
    fedctl = _short(Path(program("fedctl")))
    first_site = next(iter(ports.sites))
    lines = [
        "",
        f"Hub    https://{LOOPBACK}:{ports.hub}  (API: /api/v1/openapi.json)",
        f"Logs   {_short(state_dir.root / 'log')}",
        "",
        "Look around in another terminal:",
        f"  export FEDCTL_CONFIG={shlex.quote(str(state_dir.config))}",
        f"  {fedctl} get sites,participants,certificates,operations",
    ]
    if federation:
        lines += [
            f"  {fedctl} routes {federation}",
            f"  {fedctl} describe participant {federation}/exchange",
        ]
    lines += [
        f"  {fedctl} events --follow",
        f"  kubectl --kubeconfig {_short(state_dir.site(first_site) / 'kubeconfig')} get pods -A",
        "",
        "Ctrl-C stops everything; the next start goes on from here.",
    ]
    for line in lines:
        print_line(line)


def _short(path: Path) -> str:
    """Write a path relative to the current folder, if it is below that."""
    relative = os.path.relpath(path)
    return shlex.quote(relative if not relative.startswith("..") else str(path))
